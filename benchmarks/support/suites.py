"""The suites of quality.py: a model of another size or language, and the sets it is measured on.

Slices are smaller than the starter's, because a model of Base size takes four times as long, and
Chinese sets are many. Rates and epochs are those that people use for such models. No score chose
them, except that sets to tag were cut too small at first: there nobody learned anything.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.support.sets import DATA_SETS, DataSet

SORTED = {"sampling": "group_by_length"}
"""The Trainer's quicker batches: with random ones a suite takes it twice as long."""
STARTERS = {one.name: one for one in DATA_SETS}


def _like(name: str, base: str, train: str, dev: str, **changes: object) -> DataSet:
    """A set that is measured as one of the starter's, with other files."""
    files = {"name": name, "train": train, "dev": dev}
    return replace(STARTERS[base], **files, **changes, **SORTED)  # type: ignore[arg-type]


def _base(name: str, train_rows: int, dev_rows: int, **changes: object) -> DataSet:
    """One of the starter's sets, smaller and at the rate of BERT-Base."""
    sizes = {"train_rows": train_rows, "dev_rows": dev_rows, "lr": 5e-5} | changes
    return replace(STARTERS[name], **sizes, **SORTED)  # type: ignore[arg-type]


BASE_SETS = [
    _like(
        *("sst2_glue", "sst2_sentences", "sst2_glue/train.tsv", "sst2_glue/dev.tsv"),
        train_rows=600,
        dev_rows=400,
        epochs=3,
        lr=5e-5,
    ),
    _like(
        *("mrpc", "rte", "mrpc/msr_paraphrase_train.txt", "mrpc/msr_paraphrase_test.txt"),
        format="mrpc",
        train_rows=400,
        dev_rows=400,
        lr=5e-5,
    ),
    _base("rte", 300, 277),
    _like(
        *("cola", "sst2_sentences", "cola/cola_public/raw/in_domain_train.tsv"),
        "cola/cola_public/raw/in_domain_dev.tsv",
        format="cola",
        train_rows=1000,
        dev_rows=527,
        epochs=3,
        lr=5e-5,
        metrics=("MCC",),
        columns=(("text", "column4"), ("label", "column2")),
    ),
    _base("stsb_multi", 500, 400),
    _base("wnut17", 600, 400, lr=1e-4),
    _base("squad_dev", 200, 100, lr=1e-4),
    _base("dream", 40, 100),
]
"""For a model of 12 layers, 768 wide."""

CHINESE_SETS = [
    _like(
        *("chnsenticorp", "sst2_sentences", "chnsenticorp/train.tsv", "chnsenticorp/dev.tsv"),
        train_rows=500,
        dev_rows=300,
        max_length=256,
    ),
    _like(
        *("tnews", "sst2_sentences", "tnews/train.tsv", "tnews/dev.tsv"),
        train_rows=1500,
        dev_rows=600,
    ),
    _like(
        *("ocnli", "rte", "ocnli/train.10k.json", "ocnli/dev.json"),
        format="json-pair",
        train_rows=1000,
        dev_rows=500,
    ),
    _like(
        *("afqmc", "rte", "afqmc/train.txt", "afqmc/dev.txt"),
        format="pair-label",
        train_rows=1000,
        dev_rows=500,
    ),
    _like(
        *("cluener2020", "wnut17", "cluener2020/jsonl/train.json", "cluener2020/jsonl/dev.json"),
        format="cluener",
        train_rows=1200,
        dev_rows=300,
        lr=2e-4,
    ),
    _like(
        *("weibo_ner", "wnut17", "weibo_ner/weiboNER_2nd_conll.train"),
        "weibo_ner/weiboNER_2nd_conll.test",
        format="weibo",
        train_rows=1200,
        dev_rows=260,
        lr=2e-4,
    ),
    _like(
        *("cmrc2018", "squad_dev", "cmrc2018/cmrc2018_train.json"),
        "cmrc2018/cmrc2018_dev.json",
        train_rows=200,
        dev_rows=80,
        lr=2e-4,
        max_words=300,
        script="cmrc2018/cmrc2018_evaluate.py",
    ),
    _like(
        *("c3", "dream", "c3/c3-d-train.json", "c3/c3-d-dev.json"),
        train_rows=80,
        dev_rows=120,
        max_words=100,
        options=4,
    ),
    _like(
        *("stsb-zh", "stsb_multi", "stsb_multi/stsb-zh-train.csv", "stsb_multi/stsb-zh-dev.csv"),
        train_rows=800,
        dev_rows=400,
    ),
]
"""For a model that reads Chinese."""

SUITES = {"starter": DATA_SETS, "base": BASE_SETS, "chinese": CHINESE_SETS}
