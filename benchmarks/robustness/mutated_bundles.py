"""Opens damaged bundles with the C++ library: each is refused, or it answers.

    python -m benchmarks.robustness.mutated_bundles [--count 100000] [--seed 0] [--plain]

A small bundle of each task and of each family is changed at random: bytes are flipped, files are
cut or left out, values of JSON are replaced, tensors get other names, types and sizes, and weights
become NaN. Most are then given the digests that belong to them, so that the change reaches the code
behind the check of digests. The library is built with AddressSanitizer and
UndefinedBehaviorSanitizer (`--plain`: without) and runs in child processes. The command prints how
many were refused and how many answered, and fails with the seed at a crash, or at a refusal that is
no line of text.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.support.native_builds import build_library  # noqa: E402
from onelayer.checkpoint.single_file import head_of  # noqa: E402
from support.native_library import NativeFailure, NativeModel, interface_of  # noqa: E402

WEIGHTS, RECORD = "onnx/model.safetensors", "onelayer.json"
JSON_FILES = ("config.json", RECORD, "tokenizer.json", "tokenizer_config.json")
FIRST_CONFIG, FIRST_WEIGHTS = "first/config.json", "first/onnx/model.safetensors"
"""What a bundle has besides where a smaller model answers first."""
ODD = (
    *(None, True, False, 0, -1, 1, 2, 3, 255, 1 << 31, 1 << 62, -(1 << 63), 1e308, 0.5, -0.0),
    *(float("nan"), float("inf"), "", "a", "O", "B-X", "[CLS]", "\0", "x" * 5000, [], {}, [[]]),
    *([0], ["a", "a"], {"": 0}, {"id": 1}, [-1, 1 << 40], "int8", "gelu", "words"),
)
"""Values that replace others."""
INPUTS: dict[str, list[dict[str, Any]]] = {
    "classify": [{"text": ""}, {"text": "a good cat 🙂 北京 " * 20}],
    "regress": [{"text": "x"}, {"text": "a good cat 🙂 北京 " * 20}],
    "tag": [{"text": "a cat 🙂 北京s, x " * 9}, {"text": "ab c", "words": [(0, 1), (1, 4)]}],
    "answer": [{"question": "where?", "text": "we saw the cat in 北京, 🙂 and bad " * 9}],
    "choose": [{"text": "the cat", "question": "is", "options": ["good", "bad 🙂 " * 40]}],
}
"""What each task is asked."""

Files = dict[str, bytes]


# Changes -----------------------------------------------------------------------------------------


def _flip(files: Files, rng: random.Random) -> None:
    name = rng.choice(list(files))
    data = bytearray(files[name])
    near = rng.choice((64, 4096, len(data)))  # headers are at the beginning
    for _ in range(rng.choice((1, 1, 2, 8))):
        if data:
            data[rng.randrange(min(near, len(data)))] = rng.randrange(256)
    files[name] = bytes(data)


def _cut(files: Files, rng: random.Random) -> None:
    name = rng.choice(list(files))
    files[name] = files[name][: rng.randrange(len(files[name]) + 1)]


def _leave_out(files: Files, rng: random.Random) -> None:
    del files[rng.choice(list(files))]


def _replace_values(files: Files, rng: random.Random) -> None:
    name = rng.choice([name for name in (*JSON_FILES, FIRST_CONFIG) if name in files])
    value = json.loads(files[name])
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _replace_one(value, rng)
    files[name] = json.dumps(value, ensure_ascii=False).encode(errors="replace")


def _replace_one(value: Any, rng: random.Random) -> None:
    """Replaces, removes or repeats one value at a random depth."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(value[key], (dict, list)) and value[key] and rng.random() < 0.85:
            value = value[key]
            continue
        match rng.randrange(6):
            case 0:
                del value[key]
            case 1 if isinstance(value, list):
                value.append(value[key])
            case 2 if isinstance(value[key], int) and not isinstance(value[key], bool):
                value[key] += rng.choice((-1, 1, 16, 1 << 20))
            case _:
                value[key] = rng.choice(ODD)
        return


def _weights(files: Files, rng: random.Random) -> str:
    return rng.choice([name for name in (WEIGHTS, FIRST_WEIGHTS) if name in files])


def _change_tensors(files: Files, rng: random.Random) -> None:
    file = _weights(files, rng)
    data = files[file]
    length = int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]
    name, other = rng.choice(list(header)), rng.choice(list(header))
    match rng.randrange(6):
        case 0:
            header[rng.choice((name + "x", "pooler.norm.weight", "", other))] = header.pop(name)
        case 1:
            header[name]["shape"], header[other]["shape"] = (
                header[other]["shape"],
                header[name]["shape"],
            )
        case 2:
            header[name]["dtype"] = rng.choice(("F32", "I8", "F16", "BOOL", ""))
        case 3:
            header[name]["data_offsets"] = [
                at + rng.choice((-4, 4, 1, 1 << 40)) for at in header[name]["data_offsets"]
            ]
        case 4:
            header[name]["shape"] = rng.choice(([], [0], [-1, -1], [1 << 32, 1 << 32], [1] * 40))
        case 5:
            del header[name]
    text = json.dumps(header).encode()
    files[file] = len(text).to_bytes(8, "little") + text + numbers


def _change_numbers(files: Files, rng: random.Random) -> None:
    file = _weights(files, rng)
    data = bytearray(files[file])
    begin = 8 + int.from_bytes(data[:8], "little")
    for _ in range(rng.choice((1, 4, 64))):
        at = begin + 4 * rng.randrange((len(data) - begin) // 4)
        data[at : at + 4] = rng.choice(
            (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", rng.randbytes(4))
        )
    files[file] = bytes(data)


CHANGES: tuple[tuple[int, Callable[[Files, random.Random], None]], ...] = (
    (4, _flip),
    (1, _cut),
    (1, _leave_out),
    (8, _replace_values),
    (3, _change_tensors),
    (2, _change_numbers),
)
"""How often each change is made, compared to the others."""


def mutated(files: Files, seed: int) -> bytes:
    """A bundle's single file after random changes; the same ones for a seed."""
    rng = random.Random(seed)
    files = dict(files)
    weights, ways = zip(*CHANGES, strict=True)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        way = rng.choices(ways, weights)[0]
        with suppress(KeyError, ValueError, TypeError, IndexError, AttributeError):
            way(files, rng)  # an earlier change may have left nothing to change
    if rng.random() < 0.95:
        _sign(files)
    packed = bytearray(_packed(files))
    if rng.random() < 0.03:
        packed[rng.randrange(len(packed))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.03:
        del packed[rng.randrange(len(packed)) :]
    return bytes(packed)


def _sign(files: Files) -> None:
    """Writes the digests of the weights into the record."""
    try:
        record = json.loads(files[RECORD])
        export = record["export"]
        for part, name in ((export, WEIGHTS), (export.get("first"), FIRST_WEIGHTS)):
            if name in files:
                part["sha256"] = hashlib.sha256(files[name]).hexdigest()
        files[RECORD] = json.dumps(record, ensure_ascii=False).encode(errors="replace")
    except (ValueError, TypeError, KeyError, AttributeError):
        pass


def _packed(files: Files) -> bytes:
    facts = [(len(data), hashlib.sha256(data).hexdigest()) for data in files.values()]
    head, places = head_of(list(files), facts)
    found = bytearray(head)
    for data, place in zip(files.values(), places, strict=True):
        found += bytes(place - len(found)) + data
    return bytes(found)


# Runs --------------------------------------------------------------------------------------------


def outcome(bundle: bytes, library: ctypes.CDLL | None = None) -> str:
    """What the library says to a bundle: ``answered``, or why not. Raises RuntimeError for a status
    or a text that no refusal has."""
    try:
        model = NativeModel(bundle, library, threads=1)
        description = json.loads(model.describe())
        inputs = INPUTS[description["task"]]
        if "pair" in description["layout"]["columns"]:
            inputs = [one | {"pair": "a cat"} for one in inputs]
        for one in model.predict(inputs).json():
            json.loads(one)
    except NativeFailure as refused:
        message = str(refused)
        if refused.status not in (1, 2) or not message or "\n" in message:
            raise RuntimeError(f"status {refused.status}: {message!r}") from refused
        return message
    return "answered"


def files_of(folder: Path) -> Files:
    """The files of a bundle's directory that the library reads."""
    names = [*JSON_FILES, WEIGHTS]
    if (folder / FIRST_CONFIG).exists():
        names += [FIRST_CONFIG, FIRST_WEIGHTS]
    return {name: (folder / name).read_bytes() for name in names}


def seed_of(files: Files) -> bytes:
    """A bundle as an input of csrc/fuzz/bundle.cpp: its files with zero bytes between them, and
    zeros for the digest of the weights."""
    digest = hashlib.sha256(files[WEIGHTS]).hexdigest()
    parts = [files[name].replace(digest.encode(), b"0" * 64) for name in JSON_FILES]
    return b"\0".join([*parts, files[WEIGHTS]])


def _write_seeds(folder: Path) -> None:
    from support.native_bundles import write_example_bundles

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        write_example_bundles(Path(name))
        for bundle in sorted(Path(name).iterdir()):
            (folder / bundle.name).write_bytes(seed_of(files_of(bundle)))


def _child(library: str, bundles: Path, seeds: Sequence[int]) -> None:
    """Opens the bundles of some seeds. Prints each seed, and how many answered at the end."""
    found = interface_of(ctypes.CDLL(library))
    originals = [files_of(folder) for folder in sorted(bundles.iterdir())]
    assert all(outcome(_packed(files), found) == "answered" for files in originals)
    counts: Counter[str] = Counter()
    for seed in range(*seeds):
        os.pwrite(1, f"{seed:<20}".encode(), 0)  # stdout is a file
        said = outcome(mutated(originals[seed % len(originals)], seed), found)
        counts["answered" if said == "answered" else "refused"] += 1
    os.pwrite(1, json.dumps(counts).encode().ljust(100), 0)


def _sanitized_environment() -> dict[str, str]:
    # The sanitizer finds what throws exceptions only where that was loaded at the start.
    found = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    # Python itself leaks. A size from a file that isn't checked shows as a large allocation.
    return os.environ | {
        "LD_PRELOAD": " ".join(found),
        "ASAN_OPTIONS": "detect_leaks=0:max_allocation_size_mb=1024",
    }


def _batches(count: int, seed: int, size: int = 5000) -> Iterator[tuple[int, int]]:
    for begin in range(seed, seed + count, size):
        yield begin, min(begin + size, seed + count)


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        library, bundles, *seeds = sys.argv[2:]
        _child(library, Path(bundles), list(map(int, seeds)))
        return 0
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--seeds", type=Path, help="only write inputs for csrc/fuzz/bundle.cpp")
    given = parser.parse_args()
    if given.seeds:
        _write_seeds(given.seeds)
        return 0
    from support.native_bundles import write_example_bundles

    build = ("plain", "") if given.plain else ("sanitized", "address,undefined")
    library = build_library(build[0], "onelayer_shared", build[1]) / "libonelayer.so"
    environment = dict(os.environ) if given.plain else _sanitized_environment()
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        write_example_bundles(Path(name))
        for begin, end in _batches(given.count, given.seed):
            with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
                words = ["--child", str(library), name, str(begin), str(end)]
                module = [sys.executable, "-m", "benchmarks.robustness.mutated_bundles"]
                done = subprocess.run([*module, *words], env=environment, stdout=out, stderr=err)
                out.seek(0)
                said = out.read().decode().strip()
                if done.returncode:
                    err.seek(0)
                    print(err.read().decode(errors="replace")[-6000:])
                    print(f"crashed: --count 1 --seed {said}")
                    return 1
                counts.update(json.loads(said))
            seconds = time.perf_counter() - started
            answered, refused = counts["answered"], counts["refused"]
            print(
                f"{answered + refused:,} bundles: {refused:,} refused, {answered:,} answered, "
                f"{seconds:.0f} s",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
