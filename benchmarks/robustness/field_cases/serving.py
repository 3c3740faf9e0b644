"""Clients of a served model: a stock client of Java, raw HTTP, tritonclient and huggingface_hub.

Their scripts name port 18080; they are run with the port of a server that is started here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from benchmarks.robustness.field_cases.case import Case, Trial, expect

PORT_OF_SCRIPTS = "18080"

CLASSIFIER = "text,label\n" + "".join(
    f"my card was charged {i} times,account\nbook a room for {i} nights,room\n" for i in range(20)
)
TAGGER = "Anna B-PER\nlives O\nin O\nParis B-LOC\n\n" * 20
ANSWERS = "".join(
    f'{{"question": "Where is {i}?", "context": "{i} lives in Paris.", "answers": ["Paris"]}}\n'
    for i in range(20)
)
FILES = {"cls": ("cls.csv", CLASSIFIER), "tag": ("tag.conll", TAGGER), "ans": ("a.jsonl", ANSWERS)}

STATUSES = {
    "no Host": 400,
    "expect": 100,
    "BOM": 400,
    "utf16": 400,
    "latin1": 400,
    "vendor type": 415,
}
"""The first status of requests of ``raw_http.py`` that isn't 200."""

REFUSED = {
    "np.str_": "expected BYTES",
    "scalar": "",
    "missing model": "no model of that name",
    "text_classification": "/models/cls",
    "base_url": "/models/cls",
    "api_key": "/models/cls",
    "token_classification": "/models/tag",
    "token stride": "aggregation_strategy",
    "health": "",
    "endpoint info": "",
    "feature_extraction": "/models/cls",
    "zero_shot": "candidate_labels",
}
"""Calls of ``clients.py`` that are refused on a server of several models, and what of the reason is
expected. Hugging Face's can't tell which model they are for. Some are refused by the client itself:
NumPy's own texts, and health without a provider."""


@contextmanager
def served(trial: Trial) -> Iterator[str]:
    """The port of a server with a classifier, a tagger and a model for answers."""
    models = []
    for name, (file, text) in FILES.items():
        path = trial.scratch / file
        path.write_text(text, encoding="utf-8")
        models.append(f"{name}={trial.trained(path)}")
    command = [sys.executable, "-m", "onelayer", "serve", *models, "--port", "0", "--notice", "0"]
    with (trial.scratch / "serve.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().split()[0].rpartition(":")[2]
    finally:
        server.terminate()
        server.wait(60)


def output(command: list[str], **options: str) -> str:
    ran = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=300, check=False, **options
    )
    expect(ran.returncode == 0, ran.stderr[-300:])
    return ran.stdout


def script(trial: Trial, file: Path, port: str) -> str:
    """What a Python script prints."""
    path = trial.scratch / file.name
    text = file.read_text(encoding="utf-8").replace(PORT_OF_SCRIPTS, port)
    path.write_text(text, encoding="utf-8")
    return output([sys.executable, str(path)])


def java_is_answered(trial: Trial, file: Path) -> str:
    with served(trial) as port:
        lines = output(["java", str(file), f"http://127.0.0.1:{port}"]).splitlines()
    statuses = re.findall(r"\b\d{3}\b", " ".join(f"{line.partition(' HTTP')[0]}" for line in lines))
    expect(statuses == ["200"] * 3, lines)
    return "200 three times"


def raw_requests_are_answered(trial: Trial, file: Path) -> str:
    with served(trial) as port:
        lines = script(trial, file, port).splitlines()
    found = {
        name: int(status[1])
        for name, answer in pairwise(lines)
        if (status := re.match(r"\s+HTTP/1\.1 (\d{3})", answer))
    }
    silent = [line for line in lines if line.startswith("     |")]
    expect(bool(found) and not silent, silent)
    wrong = {name: got for name, got in found.items() if got != STATUSES.get(name, 200)}
    expect(not wrong, wrong)
    return f"{len(found)} requests, one answer each"


def calls_are_answered(trial: Trial, file: Path) -> str:
    with served(trial) as port:
        lines = re.split(r"\n(?=OK |ERR |---)", script(trial, file, port))
    answered = [line for line in lines if line.startswith("OK ")]
    failed = {name: line for line in lines if line.startswith("ERR") for name in [_name(line)]}
    wrong = unexpected(failed)
    expect(not wrong, wrong)
    return f"{len(answered)} calls answered, {len(failed)} refused with a reason"


def unexpected(failed: Mapping[str, str]) -> list[str]:
    """Lines of calls that should not have failed, and calls that should have."""
    wrong = [line for name, line in failed.items() if REFUSED.get(name, "\0") not in line]
    return wrong + [f"{name} was answered" for name in REFUSED if name not in failed]


def _name(line: str) -> str:
    return max((n for n in REFUSED if line[4:].startswith(f"{n} ")), key=len, default=line)


CASES = (
    Case("deploy/JdkPost.java", "200 three times", java_is_answered),
    Case("deploy/raw_http.py", "one answer a request, Upgrade ignored", raw_requests_are_answered),
    Case("deploy/clients.py", "versions, and a model of several by its URL", calls_are_answered),
)
