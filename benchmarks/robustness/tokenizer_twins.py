"""Do the tokenizers in C++ cut as those in Python? Ids, offsets in three units, and words must be
the same.

    python -m benchmarks.robustness.tokenizer_twins
    python -m benchmarks.robustness.tokenizer_twins --texts 1000000 --data FOLDER

The texts are made of all of Unicode: any code point, marks in any order, pieces of the vocabulary,
special tokens, runs of one character; one of ten is no valid UTF-8. FOLDER holds data sets, and the
lines of all of its files are texts, too. Each text goes to one tokenizer, in turn: the tiny ones of
tests/support, with every kind of model and every rule, and the starter and the multilingual model
where they are installed. The command prints a table, and fails at any difference.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate, islice
from pathlib import Path

from benchmarks.support.machine import machine
from onelayer.checkpoint.named_models import MULTILINGUAL, NAMED_MODELS, STARTER, on_this_machine
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.tokenizer_files import WORDPIECE, XLMR_UNIGRAM
from onelayer.tokens.words import Joints, split_words

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from support.native_tokenizers import NativeTokenizer, Span, split_natively
from support.ruled_tokenizers import RULED, read_ruled
from support.tiny_tokenizers import TINY

POINTS = [*range(0xD800), *range(0xE000, 0x110000)]
LENGTHS = (0, 1, 2, 3, 5, 8, 13, 20)
"""Parts of a text."""
BLOCKS = (0x0, 0x300, 0x400, 0x600, 0x900, 0x1100, 0x2000, 0x3040, 0x4E00, 0xAC00, 0x1F600)
"""Where 256 code points begin that are often side by side in a text."""
PARTS = (
    *(" ", "  ", "    ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\x85", "\x1c", "\0"),
    *("\x01", "\x7f", "\ufffd", "\ufeff", "\u200b", "\u200d", "\u0301\u0323", "a\u0323\u0301"),
    *("é", "e\u0301", "İ", "ß", "ẞ", "ﬁ", "ſ", "Σς", "①", "½", "ﷺ", "ẛ̣", "\u0345", "\U0001d165"),
    *(
        "猫猫",
        "我们",
        "ｶﾞ",
        "한국",
        "각",
        "\u1100\u1161\u11a8",
        "क्क\u0301",
        "～",
        "\ufdd0",
        "©\u200d©",
    ),
    *(
        "😀",
        "👨\u200d👩\u200d👧",
        "👍🏽",
        "🇩🇪",
        "🇩",
        "\u0600a\u0301",
        "\r\u0301",
        "the",
        " The",
        "cat",
    ),
    *("[SEP]", "[CLS]", "[UNK]", "[PAD]", "[MASK]", "<s>", "</s>", "<unk>", "<pad>", "<mask>"),
    *("[E1]", "[E2]", "Naïve", "##", "▁", "Ġ", "'s", "'S", "'ſ", "'ll", "n't", "``", "''", "don't"),
    *("2024", "3.5", "x2", "-", "_", "(", "!?", "...", "—", "$", "<0x41>"),
)
"""What rules look at, and what they must not."""
BROKEN = (b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\x80", b"\x80")
"""Bytes that are no UTF-8."""
LONGEST_LINE = 2000
"""Characters of a line of a data set."""


class TextMaker:
    """Makes texts for a vocabulary."""

    def __init__(self, seed: object, vocabulary: Sequence[str]) -> None:
        self._random, self._vocabulary = random.Random(str(seed)), sorted(vocabulary)

    def texts(self) -> Iterator[bytes]:
        """Texts without end, a tenth of them no UTF-8."""
        while True:
            parts = [self._part() for _ in range(self._random.choice(LENGTHS))]
            data = "".join(parts).encode()
            if self._random.random() < 0.1:
                data = self._broken(data)
            yield data

    def cuts(self, text: str) -> list[Span]:
        """Any words of a text, which may touch, and may be empty."""
        pick = self._random
        places = sorted(pick.randint(0, len(text)) for _ in range(2 * pick.randrange(5)))
        return list(zip(places[::2], places[1::2], strict=True))

    def _part(self) -> str:
        pick, kind = self._random, self._random.random()
        if kind < 0.35:
            part = pick.choice(PARTS)
        elif kind < 0.55:
            part = pick.choice(self._vocabulary).removeprefix("##")
        elif kind < 0.85:
            part = chr(pick.choice(pick.choice(_kinds_of_points())))
        elif kind < 0.92:
            part = chr(pick.choice(BLOCKS) + pick.randrange(256))
        else:
            part = chr(pick.randrange(128))
        if pick.random() < 0.02:
            part *= pick.randrange(130)
        return part + " " * (pick.random() < 0.25)

    def _broken(self, data: bytes) -> bytes:
        """Bytes are cut out, or put in."""
        pick = self._random
        for _ in range(pick.randrange(1, 4)):
            at = pick.randint(0, len(data))
            data = data[:at] + pick.choice(BROKEN) + data[at + pick.randrange(3) :]
        return data


@cache
def _kinds_of_points() -> list[list[int]]:
    """All code points, those that are assigned, marks, and those that decompose."""
    kinds = {point: unicodedata.category(chr(point)) for point in POINTS}
    known = [point for point, kind in kinds.items() if kind not in ("Cn", "Co")]
    marks = [point for point in known if kinds[point][0] == "M"]
    return [POINTS, known, marks, [p for p in known if unicodedata.decomposition(chr(p))]]


def differences(
    tokenizer: Tokenizer, native: NativeTokenizer, texts: Sequence[bytes], maker: TextMaker
) -> list[str]:
    """What the two do differently, a line each."""
    decoded = [text.decode(errors="replace") for text in texts]
    found = []
    words = [split_words(text) for text in decoded]
    cuts = [maker.cuts(text) for text in decoded]
    whole, by_word, by_cut = (
        tokenizer.encode(decoded),
        tokenizer.encode_words(decoded, words),
        tokenizer.encode_words(decoded, cuts),
    )
    for i, (data, text) in enumerate(zip(texts, decoded, strict=True)):
        pieces = native.encode(data)
        if pieces.ids != whole[i].ids or pieces.points != [*map(tuple, whole[i].offsets)]:
            found.append(f"pieces of {data!r}")
        if not _same_places(data, text, pieces.points, pieces.bytes, pieces.utf16):
            found.append(f"units of {data!r}")
        if split_natively(data, Joints()).points != words[i]:
            found.append(f"words of {data!r}")
        for spans, wanted in (words[i], by_word[i]), (cuts[i], by_cut[i]):
            if native.encode_words(data, spans) != (wanted.ids, wanted.word_ids):
                found.append(f"pieces of {spans} of {data!r}")
    return found


def _same_places(
    data: bytes, text: str, points: list[Span], in_bytes: list[Span], utf16: list[Span]
) -> bool:
    """Whether offsets in bytes and in UTF-16 are those of the code points."""
    units = [0, *accumulate(2 if character > "\uffff" else 1 for character in text)]
    if utf16 != [(units[begin], units[end]) for begin, end in points]:
        return False
    if b"\xef\xbf\xbd" in text.encode():  # some bytes were no UTF-8, perhaps
        return all(
            data[a:b].decode(errors="replace") == text[begin:end]
            for (a, b), (begin, end) in zip(in_bytes, points, strict=True)
        )
    sizes = [0, *accumulate(len(character.encode()) for character in text)]
    return in_bytes == [(sizes[begin], sizes[end]) for begin, end in points]


def tokenizers(*, installed: bool = True) -> Iterator[tuple[str, Tokenizer]]:
    """The tiny tokenizers, and those of the models that are installed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, tiny in TINY.items():
            yield kind, Tokenizer.read(tiny.write(folder / kind), tiny.kind)
        for rules in RULED:
            yield rules, read_ruled(rules, folder)
    for model, family in ((STARTER, WORDPIECE), (MULTILINGUAL, XLMR_UNIGRAM)) if installed else ():
        if place := on_this_machine(NAMED_MODELS[model]):
            yield model, Tokenizer.read(place, family)


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """The tokens of a tokenizer's model."""
    entries = tokenizer.to_json()["model"]["vocab"]
    return [entry if isinstance(entry, str) else entry[0] for entry in entries]


def lines_of(folder: Path) -> Iterator[bytes]:
    """The lines of all files of a folder, their beginnings if they are long."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".py", ".zip", ".gz", ".parquet", ".md"):
            with path.open("rb") as file:
                while line := file.readline(4 * LONGEST_LINE):
                    yield line.rstrip(b"\r\n")


def write_seeds(folder: Path) -> None:
    """Writes the tiny tokenizers, each with a text, for the fuzzer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tokenizer in tokenizers(installed=False):
        rules = json.dumps(tokenizer.to_json(), ensure_ascii=False).encode()
        maker = TextMaker(name, vocabulary_of(tokenizer))
        for i, text in enumerate(islice(maker.texts(), 8)):
            (folder / f"{name} {i}").write_bytes(rules + b"\0" + text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--texts", type=int, default=100_000, help="to make, for all tokenizers")
    parser.add_argument("--data", type=Path, help="a folder of data sets")
    parser.add_argument("--every", type=int, default=1, help="take every nth line of DATA")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--seeds", type=Path, help="only write inputs for csrc/fuzz/tokenizer.cpp")
    arguments = parser.parse_args()
    if arguments.seeds:
        write_seeds(arguments.seeds)
        return
    every = list(tokenizers())
    n = -(-arguments.texts // len(every))
    print(
        "| tokenizer | texts | lines | pieces differ | seconds |\n|---|---|---|---|---|", flush=True
    )
    failed = 0
    for turn, (name, tokenizer) in enumerate(every):
        started, native = time.perf_counter(), NativeTokenizer.of(tokenizer)
        maker = TextMaker(f"{arguments.seed} {name}", vocabulary_of(tokenizer))
        lines: Iterator[bytes] = iter(())
        if arguments.data:
            step = len(every) * arguments.every
            lines = islice(lines_of(arguments.data), turn, None, step)
        counts, different = [0, 0], []
        for k, source in enumerate((islice(maker.texts(), n), lines)):
            while texts := list(islice(source, 1000)):
                counts[k] += len(texts)
                different += differences(tokenizer, native, texts, maker)
        seconds = time.perf_counter() - started
        print(f"| {name} | {counts[0]:,} | {counts[1]:,} | {len(different)} | {seconds:.0f} |")
        print(*different[:5], sep="\n", end="\n" if different else "", flush=True)
        failed += len(different)
    print(f"\n{failed} differences. {machine('tokenizers')}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
