"""Tiny BERTs with random weights, in directories that transformers wrote."""

from __future__ import annotations

import json
import signal
import string
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import chromium
import numpy as np
import pytest
import torch
import transformers
from hypothesis import settings
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import logging

from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from page_site import Site

# As the engine does before it imports OpenVINO: nothing here may phone home.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
# Who starts the tests in the background has SIGINT ignored, and they send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Models this small are slowed down by threads, and cores may be shared.
torch.set_num_threads(1)
logging.disable_progress_bar()
settings.register_profile("onelayer", deadline=None)
settings.load_profile("onelayer")

LETTERS = string.ascii_lowercase + string.digits
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(*LETTERS, *string.punctuation, *"我们在北京的很好大学"),
    *(f"##{letter}" for letter in LETTERS),
    *("the", "cat", "##s", "good", "bad"),
]

MakeBert = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def make_bert(tmp_path_factory: pytest.TempPathFactory) -> MakeBert:
    """``make_bert(architecture, labels=..., **config)``: the directory of a random model.

    Any ASCII text has pieces in its vocabulary; dropout is off unless the config says otherwise.
    """
    numbers = count()

    @cache
    def make(
        architecture: str = "BertModel", *, labels: tuple[str, ...] = (), **changes: object
    ) -> Path:
        values: dict[str, object] = {
            "vocab_size": len(VOCABULARY),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        }
        if labels:
            values["id2label"] = dict(enumerate(labels))
            values["label2id"] = {label: i for i, label in enumerate(labels)}
        config = transformers.BertConfig(**values | changes)
        torch.manual_seed(0)
        model = getattr(transformers, architecture)(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                is_scale = "LayerNorm.weight" in name
                parameter.normal_(1.0 if is_scale else 0.0, 0.2 if parameter.dim() > 1 else 0.1)
        folder = tmp_path_factory.mktemp(f"{architecture}-{next(numbers)}")
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def bert(make_bert: MakeBert) -> Path:
    """A pretrained BERT without a head."""
    return make_bert()


@pytest.fixture(scope="session")
def tokenizer(bert: Path) -> Tokenizer:
    return Tokenizer.read(bert)


@pytest.fixture(scope="session")
def tab() -> Iterator[chromium.Page]:
    """One browser for all tests of pages that a server sends."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium on the PATH to open pages with")
    with chromium.browser(program) as page:
        page.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        yield page


@pytest.fixture(scope="session")
def running() -> Iterator[Site]:
    from page_site import Site, served

    with served((site := Site()).app) as site.url:
        yield site


@pytest.fixture
def site(running: Site, tab: chromium.Page) -> Site:
    """A server of canned answers, opened on a wide screen by somebody who reads English."""
    from page_site import visit

    running.refusal, running.key = None, ""
    running.bodies.clear()
    visit(tab, running.url)
    return running


@pytest.fixture(scope="session")
def bundle(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with the labels ``no`` and ``yes``, exported: it opens without torch."""
    from onelayer.exporting.export import export
    from onelayer.recipe import Columns

    folder = tmp_path_factory.mktemp("bundle")
    rows = folder / "dev.jsonl"
    good = json.dumps({"text": "a good cat", "label": "yes"})
    bad = json.dumps({"text": "the bad cat", "label": "no"})
    rows.write_text(f"{good}\n{bad}\n" * 5, encoding="utf-8")
    model = make_bert("BertForSequenceClassification", labels=("no", "yes"))
    columns = Columns(text="text", label="label")
    export(model, out=folder / "model", dev=rows, accept=True, columns=columns)
    return folder / "model"


def padded(
    encodings: Encodings, examples: np.ndarray
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Some examples as transformers takes them, and their targets."""
    starts, ends = encodings.cu_seqlens[examples], encodings.cu_seqlens[examples + 1]
    ids = [
        torch.from_numpy(encodings.ids[start:end].astype(np.int64))
        for start, end in zip(starts, ends, strict=True)
    ]
    assert encodings.targets is not None
    inputs = {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(x) for x in ids], batch_first=True),
    }
    return inputs, torch.from_numpy(encodings.targets[examples])
