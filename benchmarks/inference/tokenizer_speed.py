"""How many texts a second do the tokenizers in C++ cut, next to those of the tokenizers library?

    python -m benchmarks.inference.tokenizer_speed DATA
    python -m benchmarks.inference.tokenizer_speed DATA --seconds 20

DATA is the folder of all sets: English sentences are those of sst2_glue, Chinese reviews those of
chnsenticorp. One thread, offsets included; both sides take turns, and the best turn counts. A turn
is a call with all texts. The library's side makes no lists of ids and offsets for Python, which
would take it longer. Byte-level BPE has the tiny vocabulary of tests/support, as no real one is at
hand. Times are the thread's CPU time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read when the library is first used

from benchmarks.support.machine import machine
from onelayer.base.result import text_table
from onelayer.checkpoint.named_models import MULTILINGUAL, NAMED_MODELS, STARTER, on_this_machine
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.tokenizer_files import WORDPIECE, XLMR_UNIGRAM

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from support.native_tokenizers import NativeTokenizer
from support.tiny_tokenizers import TINY

MOST_TEXTS = 5000
SETS = {"English": "sst2_glue/train.tsv", "Chinese": "chnsenticorp/train.tsv"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("data", type=Path, help="the folder of all sets")
    parser.add_argument("--vocabulary", type=Path, help="a folder with BERT's Chinese vocab.txt")
    parser.add_argument("--seconds", type=float, default=5, help="for each line of the table")
    arguments = parser.parse_args()
    texts = {
        language: (arguments.data / name).read_text(encoding="utf-8").splitlines()[1:MOST_TEXTS]
        for language, name in SETS.items()
    }
    rows = []
    for name, language, tokenizer in cases(arguments.vocabulary):
        rows.append([name, language, *measured(tokenizer, texts[language], arguments.seconds)])
    head = ["tokenizer", "texts", "tokens/s, library", "tokens/s, C++", "ratio", "MB/s, C++"]
    print(text_table([head, *rows]))
    print(f"\nOne thread. {machine('tokenizers')}")


def cases(vocabulary: Path | None) -> Iterator[tuple[str, str, Tokenizer]]:
    """Tokenizers that are at hand, and the language of the texts that each gets."""
    if starter := on_this_machine(NAMED_MODELS[STARTER]):
        yield "WordPiece, starter", "English", Tokenizer.read(starter, WORDPIECE)
    if vocabulary:
        yield "WordPiece, BERT's Chinese", "Chinese", Tokenizer.read(vocabulary, WORDPIECE)
    if multilingual := on_this_machine(NAMED_MODELS[MULTILINGUAL]):
        for language in SETS:
            yield "Unigram, multilingual", language, Tokenizer.read(multilingual, XLMR_UNIGRAM)
    with tempfile.TemporaryDirectory() as name:
        tiny = TINY["byte-level BPE"]
        yield "byte-level BPE, tiny", "English", Tokenizer.read(tiny.write(Path(name)), tiny.kind)


def measured(tokenizer: Tokenizer, texts: list[str], seconds: float) -> list[str]:
    """Tokens a second of both, their ratio, and megabytes a second."""
    native, backend = NativeTokenizer.of(tokenizer), tokenizer._backend
    data = [text.encode() for text in texts]
    count = native.counter(data)
    n_tokens = count()
    best = [float("inf")] * 2
    turns: tuple[Callable[[], object], ...] = (
        lambda: backend.encode_batch(texts, add_special_tokens=False),
        count,
    )
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        for side, turn in enumerate(turns):
            before = time.thread_time()
            turn()
            best[side] = min(best[side], time.thread_time() - before)
    library, ours = best
    return [
        f"{n_tokens / library:,.0f}",
        f"{n_tokens / ours:,.0f}",
        f"{library / ours:.1f}",
        f"{sum(map(len, data)) / ours / 1e6:.0f}",
    ]


if __name__ == "__main__":
    main()
