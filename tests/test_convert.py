"""The book's checkpoints become Hugging Face directories that answer the same."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import onelayer
from onelayer.base.errors import CheckpointError, UsageError
from onelayer.cli import main as cli
from onelayer.prediction.load import load
from onelayer.tokens.tokenizer import Tokenizer
from support.book_bert import SPECIALS, BookBert, book_ids, write_book

WORDS = sorted(
    {
        *(SPECIALS, *string.punctuation, "a", "man", "men", "is", "reading", "sleeping", "nobody"),
        *("'s", "n't", "u.s.", "i", "the", "good", "bad", "day", "café", "##", "don"),
    }
    - {SPECIALS}
    | {*SPECIALS}
)
TEXTS = [
    "A man is reading .",
    "the  U.S. man 's day\tis good !",
    "do n't read <unk> CAFÉ zebra ##",
    "",
]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "bert.small.torch"


def converted_vectors(folder: Path, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, T, D) and (S, D) of transformers."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    ids, segments, n_valid = inputs
    mask = (torch.arange(ids.shape[1])[None] < n_valid[:, None]).long()
    with torch.no_grad():
        found = model(input_ids=ids, token_type_ids=segments, attention_mask=mask)
    return found.last_hidden_state, found.pooler_output


def sequences(model: BookBert, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    n_words = model.encoder.token_embedding.num_embeddings
    ids = torch.randint(n_words, (3, length))
    segments = (torch.arange(length) >= length // 3).long().expand(3, -1)
    return ids, segments, torch.tensor([length, length // 2, 3])


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases in attention"])
@pytest.mark.parametrize(
    ("sizes", "flags"),
    [
        ({}, {}),
        ({"width": 256, "heads": 4, "inner": 512}, {}),
        ({"layers": 1}, {}),
        ({"width": 96, "heads": 3, "layers": 4}, {"heads": 3}),
    ],
    ids=["as the book pretrains", "as bert.small", "one layer", "other heads"],
)
def test_converted_model_gives_the_same_vectors(
    book: Path, tmp_path: Path, sizes: dict[str, int], flags: dict[str, int], bias: bool
) -> None:
    model = write_book(book, WORDS, bias=bias, **sizes)
    result = onelayer.convert(book, tmp_path / "out", **flags)
    inputs = sequences(model, 40)
    with torch.no_grad():
        expected, expected_pooled = model(*inputs)
    found, pooled = converted_vectors(tmp_path / "out", *inputs)
    width = expected.shape[-1]
    for i, n in enumerate(inputs[2].tolist()):
        torch.testing.assert_close(found[i, :n, :width], expected[i, :n], rtol=0, atol=1e-5)
    torch.testing.assert_close(pooled[:, :width], expected_pooled, rtol=0, atol=1e-5)
    assert not found[..., width:].any()
    assert not pooled[:, width:].any()
    assert 0 < result.difference < 1e-5
    assert 0 < result.pooled_difference < 1e-5


def test_text_gets_the_ids_of_the_book(book: Path, tmp_path: Path) -> None:
    write_book(book, WORDS)
    onelayer.convert(book, tmp_path / "out")
    tokenizer = Tokenizer.read(tmp_path / "out")
    for text, encoding in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert encoding.ids == book_ids(WORDS, text)
    [written] = tokenizer.encode(["<sep> [SEP] <pad>"])
    assert set(written.ids) == {WORDS.index("<unk>")}  # in the book they would be special tokens
    pair = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")("A man .", "is good")
    at = {word: i for i, word in enumerate(WORDS)}
    cls, sep = at["<cls>"], at["<sep>"]
    expected = [cls, *book_ids(WORDS, "a man ."), sep, *book_ids(WORDS, "is good"), sep]
    assert pair["input_ids"] == expected
    assert pair["token_type_ids"] == [0] * 5 + [1] * 3


def test_punctuation_after_a_word_is_read_with_its_own_vector(book: Path, tmp_path: Path) -> None:
    """The book would find one unknown word in ``reading.``"""
    model = write_book(book, WORDS)
    result = onelayer.convert(book, tmp_path / "out")
    [close] = Tokenizer.read(tmp_path / "out").encode(["The man's day, isn't it?!"])
    apart = book_ids(WORDS, "the man 's day , is n't") + book_ids(WORDS, "it?!")
    vectors = onelayer_words(tmp_path / "out")
    expected = model.encoder.token_embedding.weight.detach()[apart]
    torch.testing.assert_close(vectors[close.ids][:, : expected.shape[1]], expected)
    assert result.endings == len([*string.punctuation, "'s", "n't", "##"])


def onelayer_words(folder: Path) -> torch.Tensor:
    words: torch.Tensor = (
        transformers.AutoModel.from_pretrained(folder).get_input_embeddings().weight
    )
    return words.detach()


@pytest.mark.slow
def test_converted_model_is_fine_tuned_and_exported(
    book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_book(book, WORDS)
    assert cli.main(["convert", str(book), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert f"saved {tmp_path / 'out'}: 2 layers of 2 + 1 heads, 128 + 64 wide" in printed
    assert "left out, as only pretraining used it: 6 tensors" in printed
    rows = [("A man is reading.", "good"), ("Nobody is sleeping!", "bad")] * 20
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": f"{text} {i}", "label": y}) for i, (text, y) in enumerate(rows)]
    path.write_text("\n".join(lines))
    run = tmp_path / "run"
    onelayer.finetune(path, out=run, model=str(tmp_path / "out"), epochs=3, folds=0)
    predictor = load(run)
    assert [one.label for one in predictor.predict(["a man is reading .", "nobody"])] == [
        "good",
        "bad",
    ]
    onelayer.export(run, int8=True, out=tmp_path / "int8")
    assert onelayer.evaluate(tmp_path / "int8", path).to_json()["rows"] == 40


def changed(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """A function that changes the state dict in a folder."""

    def write(folder: Path) -> None:
        state = torch.load(folder / "pretrained.params", weights_only=True)
        change(state)
        torch.save(state, folder / "pretrained.params")

    return write


def truncated(folder: Path) -> None:
    path = folder / "pretrained.params"
    path.write_bytes(path.read_bytes()[:-2000])


def vocabulary(value: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "vocab.json").write_text(json.dumps(value)) and None


BLOCK = "encoder.blks.0."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "pretrained.params").unlink(), "holds no pretrained.params"),
        (lambda folder: (folder / "vocab.json").unlink(), "holds no vocab.json"),
        (truncated, "pretrained.params: truncated or damaged"),
        (lambda folder: (folder / "pretrained.params").write_bytes(b"\x12\1" * 9), "damaged"),
        (vocabulary(WORDS[:-1]), f"{len(WORDS) - 1} words, and .* vectors for {len(WORDS)}"),
        (vocabulary([*WORDS[:-1], WORDS[0]]), "twice"),
        (vocabulary("words"), "no list of words"),
        (vocabulary([w for w in WORDS if w != "<sep>"] + ["x"]), "has no <sep>"),
        (vocabulary([w if w != "a" else "[SEP]" for w in WORDS]), "with one of"),
        (changed(lambda s: s.pop("hidden.0.bias")), "hidden.0.bias is missing"),
        (changed(lambda s: s.update(extra=torch.zeros(2))), "has extra, which the book"),
        (
            changed(lambda s: s[f"{BLOCK}addnorm1.ln.weight"].fill_(float("nan"))),
            "holds other things than finite numbers",
        ),
        (
            changed(lambda s: s.update({f"{BLOCK}attention.W_q.weight": torch.zeros(3, 3)})),
            "W_q.weight is 3×3, and must be 128×128",
        ),
        (changed(lambda s: s.update({"encoder.blks.7.x": torch.zeros(1)})), "count from 0"),
    ],
)
def test_wrong_folder_is_refused_in_one_line(
    book: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    write_book(book, WORDS)
    change(book)
    with pytest.raises(CheckpointError, match=message) as caught:
        onelayer.convert(book, tmp_path / "out")
    assert str(caught.value).startswith(str(book))
    assert not (tmp_path / "out").exists()


def test_heads_and_output_are_checked(book: Path, tmp_path: Path) -> None:
    write_book(book, WORDS, width=96, heads=3)
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"96 is no multiple of 64 \(give it with --heads N\)"):
        onelayer.convert(book, out)
    with pytest.raises(UsageError, match="--heads 5 doesn't divide the width of 96"):
        onelayer.convert(book, out, heads=5)
    onelayer.convert(book, out, heads=3)
    with pytest.raises(UsageError, match="out: is there already"):
        onelayer.convert(book, out, heads=3)
    with pytest.raises(CheckpointError, match="no such directory"):
        onelayer.convert(tmp_path / "nothing", tmp_path / "new")
    with pytest.raises(
        CheckpointError, match=r"is a file \(unpack it if it is an archive, and give"
    ):
        onelayer.convert(book / "pretrained.params", tmp_path / "new")


def test_whole_module_in_the_file_is_refused_with_the_call_that_writes_tensors(
    book: Path, tmp_path: Path
) -> None:
    model = write_book(book, WORDS)
    torch.save(model, book / "pretrained.params")
    with pytest.raises(CheckpointError, match=r"more than tensors.*torch.save\(net.state_dict\(\)"):
        onelayer.convert(book, tmp_path / "out")


def test_other_spellings_of_the_files_are_read(book: Path, tmp_path: Path) -> None:
    """A vocabulary as an object, and names as DataParallel writes them."""
    write_book(book, WORDS)
    first = onelayer.convert(book, tmp_path / "first")
    state = torch.load(book / "pretrained.params", weights_only=True)
    torch.save({f"module.{k}": v for k, v in state.items()}, book / "pretrained.params")
    (book / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    second = onelayer.convert(book, tmp_path / "second")
    assert second.difference == first.difference
    names = ("model.safetensors", "tokenizer.json")
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
