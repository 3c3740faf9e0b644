"""Searches for bytes that a reader neither reads nor refuses. The fuzzer is guided by coverage.

    pip install 'onelayer[fuzz]'
    python -m benchmarks.robustness.fuzz READER [READER ...] [--minutes 10] [--keep FOLDER]

atheris, a fuzzer on libFuzzer, mutates valid files and the small files of tests/support/hostile,
and each reader reads the results. A run ends early at any exception but a OneLayerError, or when
one file takes 30 seconds or 2 GB. The command prints executions and minutes for each reader, and
fails if one ended early. FOLDER keeps the corpus for the next run, and the file that ended a run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
sys.path.insert(0, str(TESTS))
SHARED_MEMORY = Path("/dev/shm")
"""A file system in memory."""

LARGEST = 4096
FILES = {
    **{kind: f"a.{kind}" for kind in ("csv", "tsv", "txt", "jsonl", "json", "conll", "conllu")},
    "parquet": "a.parquet",
    "config": "config.json",
    "tokenizer": "tokenizer.json",
    "vocabulary": "vocab.txt",
    "weights": "model.safetensors",
    "index": "model.safetensors.index.json",
    "record": "onelayer.json",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="+", choices=FILES, metavar="READER")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        fuzz(given.readers[0], given.minutes, given.keep / given.readers[0])
        return
    print("| reader | executions | minutes | ended by |\n|---|---|---|---|", flush=True)
    early = 0
    for reader in given.readers:
        seed(reader, given.keep / reader)
        command = [sys.executable, "-m", "benchmarks.robustness.fuzz", "--child", reader]
        command += ["--minutes", str(given.minutes)]
        log = given.keep / f"{reader}.log"
        with log.open("w") as file:
            ended = subprocess.run([*command, "--keep", str(given.keep)], stderr=file, stdout=file)
        text = log.read_text(errors="replace")
        done = re.search(r"Done (\d+) runs in (\d+) second", text)
        last = [int(n) for n in re.findall(r"^#(\d+)", text, re.MULTILINE)]
        runs, seconds = (int(done[1]), int(done[2])) if done else (max(last, default=0), 0)
        end = "its time" if done and ended.returncode == 0 else f"a crash: see {log}"
        early += "crash" in end
        print(f"| {reader} | {runs:,} | {seconds / 60:.1f} | {end} |", flush=True)
    sys.exit(early > 0)


def seed(reader: str, folder: Path) -> None:
    """Writes the fuzzer's first corpus: valid files and the small hostile ones."""
    from support.hostile import CASES
    from support.hostile.case import write_model
    from support.hostile.tokenizing import TOKENIZER

    folder.mkdir(parents=True, exist_ok=True)
    found = [path for path in examples(reader) if path.stat().st_size <= LARGEST]
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as home:
        write_model(Path(home) / "good")
        (Path(home) / "good" / "tokenizer.json").write_text(json.dumps(TOKENIZER))
        found += [path for path in [Path(home) / "good" / FILES[reader]] if path.exists()]
        for number, case in enumerate(CASES):
            if reader in ("config", "tokenizer", "vocabulary", "weights", "index", "record"):
                wanted = case.name.startswith((FILES[reader], "safetensors", "index"))
            else:
                wanted = case.name.startswith((f"{reader}:", "squad", "dream"))
            if wanted and not re.search(r"MB|GB|giga|000|million", case.name):
                (Path(home) / str(number)).mkdir()
                made = case.make(Path(home) / str(number))
                path = made / FILES[reader] if made.is_dir() else made
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST:
                    found.append(path)
        for number, path in enumerate(found):
            shutil.copyfile(path, folder / f"seed-{number}")


def examples(reader: str) -> list[Path]:
    """The first lines of the example sets, small enough for a fuzzer."""
    made = []
    kinds = {"txt": "*.txt", "json": "*.json"}.get(reader, f"*.{reader}")
    home = Path(tempfile.mkdtemp(dir=SHARED_MEMORY))
    for number, path in enumerate(sorted((TESTS.parent / "examples").rglob(kinds))):
        lines = path.read_bytes()[:1500].split(b"\n")[:-1]
        (home / str(number)).write_bytes(b"\n".join(lines) + b"\n")
        made.append(home / str(number))
    return made


def fuzz(reader: str, minutes: float, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["onelayer", "json", "csv"]):
        read = reader_of(reader)
        from onelayer.base.errors import OneLayerError
    home = Path(tempfile.mkdtemp(dir=SHARED_MEMORY))
    from support.hostile.case import write_model

    write_model(home / "model")
    place = home / FILES[reader]
    if reader in ("config", "tokenizer", "vocabulary", "weights", "index", "record"):
        place = home / "model" / FILES[reader]
    if reader == "index":
        (home / "model" / "model.safetensors").rename(home / "model" / "shard.safetensors")

    def once(content: bytes) -> None:
        place.write_bytes(content)
        with contextlib.suppress(OneLayerError):
            read(place)

    options = [
        f"-max_total_time={int(minutes * 60)}",
        f"-max_len={LARGEST}",
        "-timeout=30",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={folder.parent}/{reader}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], once)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def reader_of(name: str) -> Callable[[Path], object]:
    """Reads a table to its end as rows of a task, or a model's file as loading a model does."""
    from onelayer.base.model_files import read_json
    from onelayer.checkpoint import read as checkpoints
    from onelayer.checkpoint.config import EncoderConfig
    from onelayer.checkpoint.record import read_record
    from onelayer.checkpoint.weight_files import read_weights
    from onelayer.checkpoint.weights import to_ours
    from onelayer.data.readers import read_table
    from onelayer.data.rows import read_rows
    from onelayer.tasks.infer_columns import infer_columns
    from onelayer.tokens.tokenizer import Tokenizer

    def table(path: Path) -> None:
        found = read_table(path)
        seen = infer_columns(found, task=None, asked={})
        read_rows(seen.kind, found, seen.layout)

    def weights(path: Path) -> None:
        config = EncoderConfig.from_json(read_json(path.parent / "config.json"), "config.json")
        to_ours(read_weights(path.parent), config, "BertForSequenceClassification", path.parent)

    model = {
        "config": lambda path: checkpoints.read_checkpoint(path.parent),
        "tokenizer": lambda path: Tokenizer.read(path.parent).encode(["a good [SEP] bäd"]),
        "vocabulary": lambda path: Tokenizer.read(path.parent).encode(["a good [SEP] bäd"]),
        "weights": weights,
        "index": weights,
        "record": lambda path: read_record(read_json(path), path.parent, 32),
    }
    return model.get(name, table)


if __name__ == "__main__":
    main()
