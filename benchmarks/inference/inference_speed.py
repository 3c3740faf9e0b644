"""How fast is inference with onelayer, compared with the engines that people deploy? Real tokens a
second, from texts to answers, with the same fine-tuned weights, on both cores.

    python -m benchmarks.inference.inference_speed DATA --work WORK
    python -m benchmarks.inference.inference_speed DATA --work WORK --only rte --rows 100

DATA holds the data sets in their owners' formats. WORK keeps files that are made once: models
fine-tuned on slices of the sets, their bundles, the peers' files, and the best settings of each
peer. The contestants are the bundle with its fastest engine and with each engine; ONNX Runtime,
OpenVINO and CTranslate2 in int8 with their best batch size, sorted by length; and transformers'
pipeline as people use it. Each is a process of its own. They take turns, one pass over the rows
each, so a busy machine affects all of them equally. Ratios are medians over the rounds. The extra
``bench`` installs the peers. If the machine is quieter than at the last run, remove WORK/settings.

``--instructions avx2`` shows what older processors would give: onelayer and CTranslate2 use no
newer instructions. ONNX Runtime can't be told, and OpenVINO stops with an error when oneDNN is:
they use all that they find, so theirs are no figures of such a processor.

``--also avx512bf16`` adds onelayer with an older set of its own instructions as one more
contestant, on a processor with AMX for example; the peers stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for all; see train_speed.py
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np

from benchmarks.inference.inference_peers import PEERS, convert, missing
from benchmarks.inference.inference_sets import (
    SETS,
    SHAPES,
    InferenceSet,
    bundle_of,
    calibration_texts,
    fine_tuned,
    read_rows,
    save_encodings,
    scores,
)
from benchmarks.inference.inference_table import print_tables
from benchmarks.support.machine import machine
from benchmarks.support.turns import Race, Worker, say
from onelayer.checkpoint.bundle import read_bundle
from onelayer.engines.registry import engines_for
from onelayer.prediction.load import load

Record = dict[str, Any]
CONTESTANT = "benchmarks.inference.inference_contestant"
MIN_ROUNDS = 3
LIMITS = {
    "avx2": ("AVX2", "AVX2"),
    "avxvnni": ("AVX2_VNNI", "AVX2"),
    "avx512vnni": ("AVX512_CORE_VNNI", "AVX512"),
    "avx512bf16": ("AVX512_CORE_BF16", "AVX512"),
}
"""For each set of instructions, what oneDNN and CTranslate2 call the newest that they may use."""
UNLIMITED = ("ONNX Runtime int8", "OpenVINO int8")


def main() -> None:
    arguments = parse()
    for peer, package in missing().items():
        say(f"{peer} is skipped: {package} is not installed (pip install onelayer[bench])")
    results = []
    for shape in arguments.shape.split(","):
        for one in SETS:
            if one.name not in arguments.only:
                continue
            if not (arguments.data / one.dev).exists():
                say(f"{one.name} is skipped: no {arguments.data / one.dev}")
                continue
            say(f"{one.name}, {shape}")
            results.append(measure(one, shape, arguments))
            if arguments.json:
                arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print_tables(results)
    if arguments.instructions:
        others = ", ".join(UNLIMITED)
        print(f"\nNo newer instructions than {arguments.instructions}, except in {others}.")
    print(f"\n{machine('onnxruntime', 'openvino', 'nncf', 'ctranslate2')}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = [one.name for one in SETS]
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument(
        "--work", type=Path, required=True, help="a folder for models, bundles and settings"
    )
    parser.add_argument(
        "--only", action="append", choices=names, help="a set; repeat the flag for several"
    )
    parser.add_argument(
        "--shape", default=",".join(SHAPES), help="starter, base, or both, separated by commas"
    )
    parser.add_argument(
        "--rows", type=int, help="rows of each set; by default about a second's work"
    )
    parser.add_argument(
        "--seconds", type=float, default=40, help="seconds of turns for each set and shape"
    )
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="ours")
    parser.add_argument(
        "--contestants", help="only names that contain one of these, separated by commas"
    )
    parser.add_argument(
        "--instructions", choices=LIMITS, help="the newest instructions that may be used"
    )
    parser.add_argument(
        "--also", default="", help="onelayer with these of its instruction sets, too, with commas"
    )
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    arguments = parser.parse_args()
    arguments.only = arguments.only or names
    if unknown := set(arguments.shape.split(",")) - set(SHAPES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SHAPES)}")
    return arguments


def contestants(
    arguments: argparse.Namespace, one: InferenceSet, bundle: Path
) -> dict[str, Record]:
    """By name; the first is onelayer as users get it, with the fastest engine."""
    absent = missing()
    first, *engines = engines_for(read_bundle(bundle))
    found: dict[str, Record] = {"onelayer": {"side": "ours", "engine": None}}
    if arguments.instructions:  # other engines would be compared with their peers' limits
        found, engines = {"onelayer": {"side": "ours", "engine": first}}, []
    for engine in engines:
        found[f"onelayer, {engine}"] = {"side": "ours", "engine": engine}
    for name in filter(None, arguments.also.split(",")):
        found[f"onelayer, {name}"] = {"side": "ours", "engine": "native", "instructions": name}
    for peer in PEERS:
        if peer not in absent:
            found[f"{peer} int8"] = {"side": "peer", "peer": peer}
    if "pipeline" not in absent:
        found["pipeline"] = {"side": "transformers", "batch_size": 1}
        if one.way != "one":
            found["pipeline, batches of 32"] = {"side": "transformers", "batch_size": 32}
    if arguments.contestants:
        asked = arguments.contestants.split(",")
        found = {name: spec for name, spec in found.items() if any(a in name for a in asked)}
    return found


def measure(one: InferenceSet, shape: str, arguments: argparse.Namespace) -> Record:
    """All contestants on one set of rows with one shape of model."""
    spec, judged = prepare(one, shape, arguments)
    limit = arguments.instructions
    settings = arguments.work / (f"settings-{limit}" if limit else "settings")
    settings.mkdir(exist_ok=True)
    race = Race()
    with ExitStack() as stack:
        for name, options in contestants(arguments, one, Path(spec["bundle"])).items():
            its = {
                "logits": str(Path(spec["inputs"]).with_name(f"{name}.npy")),
                "setting": str(settings / f"{shape} {one.name} {name}.json"),
            }
            command = [sys.executable, "-m", CONTESTANT, json.dumps({**spec, **options, **its})]
            limited = limits(None if name in UNLIMITED else limit)
            if "instructions" in options:
                limited["ONELAYER_INSTRUCTIONS"] = options["instructions"]
            race.workers.append(Worker(name, command, {**os.environ, **limited}))
            stack.callback(race.workers[-1].close)
        race.ask(Worker.hear)
        prepared = race.ask(lambda worker: worker.step(0))
        take_turns(race, arguments.seconds)
    saved = {"fp32": None, **{name: said["logits"] for name, said in prepared.items()}}
    quality = {name: judged(np.load(path) if path else None) for name, path in saved.items()}
    return {
        "set": one.name,
        "way": one.way,
        "task": one.task,
        "shape": shape,
        "rows": len(spec["lengths"]),
        "tokens": sum(spec["lengths"]),
        "quality": quality,
        "settings": {name: said["setting"] for name, said in prepared.items()},
        "lost": race.lost,
        "turns": {worker.name: worker.rounds for worker in race.running()},
    }


def limits(instructions: str | None) -> dict[str, str]:
    """The environment in which contestants use no newer instructions."""
    if instructions is None:
        return {}
    onednn, ctranslate2 = LIMITS[instructions]
    return {
        "ONELAYER_INSTRUCTIONS": instructions,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "DNNL_MAX_CPU_ISA": onednn,
        "CT2_FORCE_CPU_ISA": ctranslate2,
        "MKL_ENABLE_INSTRUCTIONS": ctranslate2,
    }


def prepare(
    one: InferenceSet, shape: str, arguments: argparse.Namespace
) -> tuple[Record, Callable[[Any], Record]]:
    """Makes the files in WORK. Returns the settings of all contestants, and a judge of logits."""
    data, work = arguments.data, arguments.work
    scratch = work / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    run = fine_tuned(one, shape, data, work)
    bundle = bundle_of(one, shape, run, work, arguments.precision)
    predictor = load(run)
    task: Any = predictor.task
    converted = work / "peers" / run.name
    convert(run, converted, calibration_texts(one, data), task.max_length)
    n = one.rows_for(shape, arguments.rows)
    rows, inputs = read_rows(one, data, n, predictor.tokenizer)
    (scratch / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    encodings = task.encode(rows, predictor.tokenizer, labelled=False)
    save_encodings(encodings, scratch / "encodings.npz")
    reference = predictor.engine.logits(encodings)
    spec = {
        "way": one.way,
        "task": one.task,
        "model": str(run),
        "bundle": str(bundle),
        "converted": str(converted),
        "inputs": str(scratch / "inputs.json"),
        "encodings": str(scratch / "encodings.npz"),
        "lengths": np.diff(encodings.cu_seqlens[encodings.cu_rows]).tolist(),
        "max_length": task.max_length,
        "stride": task.stride if one.task == "answer" else None,
    }
    return spec, partial(scores, one, predictor, rows, encodings, reference)


def take_turns(race: Race, seconds: float) -> None:
    """One pass each to warm up, then rounds until the time is up; every other round runs in reverse
    order."""
    race.ask(lambda worker: worker.step(1))
    started, done = time.perf_counter(), 0
    while done < MIN_ROUNDS or time.perf_counter() - started < seconds:
        answers = race.ask(lambda worker: worker.step(1), backwards=done % 2 == 1)
        for worker in race.running():
            worker.rounds.append(turn(answers[worker.name]))
        done += 1


def turn(answer: Record) -> Record:
    (step,) = answer["steps"]
    return {
        "seconds": answer["seconds"],
        "cpu_seconds": answer["cpu_seconds"],
        "rows": len(step["lengths"]),
        "tokens": sum(step["lengths"]),
        "peak": answer["peak"],
    }


if __name__ == "__main__":
    main()
