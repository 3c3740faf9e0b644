"""Does every kind of file train and score? One run of a small random BERT on each complete data set
as its owner publishes it, with the command line. Only the exit codes count, not the scores.

    python -m benchmarks.robustness.every_file DATA CHINESE_VOCABULARY [WORD]

WORD selects the runs with this word in the name of their training file.

DATA holds the data sets in their owners' formats; CHINESE_VOCABULARY is a folder with the
``vocab.txt`` of bert-base-chinese. English runs take the starter's vocabulary.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.support.small_bert import small_bert
from onelayer.checkpoint.source import resolve

STEPS = 10
BATCH_SIZE = 32
SKIP = ["--skip-bad"]

# language, training file, file to score on, flags beyond the plain command
RUNS: list[tuple[str, str, str, list[str]]] = [
    ("en", "sst2_glue/train.tsv", "sst2_glue/dev.tsv", []),
    ("en", "sst2_sentences/train.tsv", "sst2_sentences/test.tsv", []),
    (
        "en",
        "cola/cola_public/raw/in_domain_train.tsv",
        "cola/cola_public/raw/out_of_domain_dev.tsv",
        [],
    ),
    ("en", "imdb_sample/train.jsonl", "imdb_sample/test.jsonl", ["--max-length", "128"]),
    ("en", "goemotions/train.tsv", "goemotions/dev.tsv", []),
    ("zh", "chnsenticorp/train.tsv", "chnsenticorp/dev.tsv", []),
    ("zh", "tnews/train.tsv", "tnews/dev.tsv", []),
    ("en", "rte/train.tsv", "rte/dev.tsv", []),
    ("en", "mrpc/msr_paraphrase_train.txt", "mrpc/msr_paraphrase_test.txt", []),
    ("zh", "ocnli/train.10k.json", "ocnli/dev.json", SKIP),
    ("zh", "afqmc/train.txt", "afqmc/dev.txt", []),
    ("en", "stsb_multi/stsb-en-train.csv", "stsb_multi/stsb-en-test.csv", []),
    ("zh", "stsb_multi/stsb-zh-train.csv", "stsb_multi/stsb-zh-test.csv", []),
    ("en", "wnut17/wnut17train.conll", "wnut17/emerging.test.annotated", []),
    ("en", "mit_movie/engtrain.bio.txt", "mit_movie/engtest.bio.txt", []),
    ("en", "mit_movie/trivia10k13train.bio.txt", "mit_movie/trivia10k13test.bio.txt", []),
    ("zh", "cluener2020/jsonl/train.json", "cluener2020/jsonl/dev.json", SKIP),
    ("zh", "cluener2020/train.json", "cluener2020/dev.json", SKIP),
    ("zh", "weibo_ner/weiboNER_2nd_conll.train", "weibo_ner/weiboNER_2nd_conll.test", SKIP),
    (
        "en",
        "ud_english_ewt/en_ewt-ud-train.conllu",
        "ud_english_ewt/en_ewt-ud-test.conllu",
        [],
    ),
    ("en", "squad_dev/v1.1-train.json", "squad_dev/v1.1-heldout.json", []),
    ("en", "squad_dev/v2.0-train.json", "squad_dev/v2.0-heldout.json", []),
    (
        "en",
        "squad_dev/v2.0-train.json",
        "squad_dev/v2.0-heldout.json",
        ["--span-head", "three-way"],
    ),
    ("zh", "cmrc2018/cmrc2018_train.json", "cmrc2018/cmrc2018_trial.json", SKIP),
    ("en", "squad_dev/v1.1-train.json", "xquad/xquad.en.json", []),
    ("zh", "cmrc2018/cmrc2018_train.json", "xquad/xquad.zh.json", SKIP),
    ("en", "dream/train.json", "dream/dev.json", []),
    ("zh", "c3/c3-d-train.json", "c3/c3-d-dev.json", []),
    ("zh", "c3/c3-m-train.json", "c3/c3-m-dev.json", ["--max-length", "256"]),
]


def main() -> int:
    data, chinese = Path(sys.argv[1]), Path(sys.argv[2])
    word = sys.argv[3] if len(sys.argv) > 3 else ""
    chosen = [run for run in RUNS if word in run[1]]
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        models = {"en": Path(scratch, "en"), "zh": Path(scratch, "zh")}
        small_bert(models["en"], resolve("starter"))
        small_bert(models["zh"], chinese)
        for number, (language, train, test, flags) in enumerate(chosen):
            if not (data / train).exists():
                print(f"{train}: skipped, not found")
                continue
            started = time.perf_counter()
            run = Path(scratch, str(number))
            line = one_run(models[language], data / train, data / test, run, flags)
            failed += line.startswith("FAILED")
            name = " ".join([train, *flags])
            print(f"{name} → {test}: {line}  [{time.perf_counter() - started:.0f} s]", flush=True)
    print(f"{len(chosen)} runs, {failed} failed")
    return int(failed > 0)


def one_run(model: Path, train: Path, test: Path, run: Path, flags: list[str]) -> str:
    """Trains for a few steps with ``test`` as dev set, then scores the saved run on it again."""
    columns = [flag for flag in flags if flag == "--skip-bad"]
    steps = ["--epochs", f"{STEPS * BATCH_SIZE / rows_of(train, model, columns):.6f}"]
    trained = onelayer(
        *("train", train, "--dev", test, "--out", run, "--model", model, "--json"), *steps, *flags
    )
    if trained.returncode:
        return f"FAILED {trained.stderr.strip().splitlines()[-1]}"
    evaluated = onelayer("eval", run, test, "--json", *columns)
    if evaluated.returncode:
        return f"FAILED {evaluated.stderr.strip().splitlines()[-1]}"
    result = json.loads(evaluated.stdout)
    if result["scores"] != json.loads(trained.stdout)["dev"]["scores"]:
        return f"FAILED eval and training disagree: {result['scores']}"
    figures = ", ".join(f"{name} {score}" for name, score in rounded(result["scores"]).items())
    return f"{result['rows']:,} rows scored: {figures}"


def rounded(scores: dict[str, float | None]) -> dict[str, float | None]:
    return {name: score if score is None else round(score, 3) for name, score in scores.items()}


def rows_of(train: Path, model: Path, columns: list[str]) -> int:
    inspected = onelayer("inspect", train, "--model", model, "--json", *columns)
    return int(json.loads(inspected.stdout)["rows"])


def onelayer(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "onelayer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
