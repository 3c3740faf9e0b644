"""The throughput of a server, and its behaviour in an overload, on a loopback port of this machine.

    python -m benchmarks.serving.serve_load --texts DATA/sst2_glue/dev.tsv [--shape base]
    python -m benchmarks.serving.serve_load --model BUNDLE --only throughput,overload

Starts ``onelayer serve`` as a process of its own. This process is the load client. Both share the
cores, and the client's share is printed. Without ``--model`` a classifier is trained briefly and
exported in int8: its answers are bad, but it is as fast as any other.

- throughput: texts a second at saturation, compared with the engine's throughput on the same texts
  in another process, in turn. The engine's throughput is that of ``predict``: tokenizing, running,
  decoding, 1,024 rows at a time, without HTTP.
- overload: three times the capacity in requests, at random moments. Latencies count from the moment
  when a request was due, so a slow client hides nothing.
- memory: 100,000 requests, and the memory of the process (RssAnon) during them.
- hostile: each of the clients of tests/support/rude_clients.py, many times.
- restart: SIGTERM under load, and a new server on the same port.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import onelayer
from benchmarks.serving.load_client import CLOSED, REFUSED, Client, Stream, get, post, quantile
from benchmarks.support.machine import machine
from onelayer.data.readers import read_table

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))

from support.rude_clients import GROUPS, MAX_BODY, MODEL, PATH, Case, meet  # noqa: E402
from support.server_process import Server  # noqa: E402

EXAMPLES = ROOT / "examples" / "en" / "classify" / "train.csv"
CORES = os.cpu_count() or 1
SATURATING = {1: 160, 32: 6}
"""Concurrent clients, by the texts of a request: enough that the next batch is always ready."""
WARM_UP_SECONDS = 1.0
"""Seconds before counting starts: by then the clients are spread out in time."""
OVERLOAD = 3
BURST_SECONDS = 2.0
"""Seconds of overload after which the requests of the first burst are answered."""
RELEASE_SECONDS = 3.0
"""Seconds in which a server releases free memory."""
CLIENTS_PER_KIND = 50
"""Number of clients of each hostile kind."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A model, the texts of its requests, and the scale of time and requests."""

    model: str
    texts: list[str]
    log: Path
    scale: float

    def server(self, **flags: object) -> Server:
        return Server(f"{MODEL}={self.model}", log=self.log, **flags)

    def requests(self, n: int) -> list[bytes]:
        """All texts, ``n`` in each request."""
        starts = range(0, len(self.texts) - n + 1, n)
        return [post(PATH, {"inputs": self.texts[start : start + n]}) for start in starts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", help="a classifier, bundle or run; by default one is trained")
    parser.add_argument(
        "--shape", choices=("starter", "base"), default="starter", help="of the trained model"
    )
    parser.add_argument(
        "--texts", type=Path, default=EXAMPLES, help="a file with a column of texts"
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time and requests")
    parser.add_argument("--engine", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    texts = texts_of(arguments.texts)
    if arguments.engine:
        engine_turns(arguments.model, texts)
        return
    with tempfile.TemporaryDirectory() as name:
        model = arguments.model or made(arguments.shape, Path(name))
        bench = Bench(model, texts, Path(name) / "log", 0.1 if arguments.quick else 1.0)
        words = [len(text.split()) for text in texts]
        print(f"{machine()}\n{len(texts):,} texts of {min(words)} to {max(words)} words")
        for part in arguments.only.split(","):
            started = time.monotonic()
            print(f"\n### {part}\n\n| | goal | measured |\n|---|---|---|", flush=True)
            PARTS[part](bench, arguments.texts)
            print(f"\n{time.monotonic() - started:.0f} s", flush=True)


def row(what: str, goal: str, measured: str) -> None:
    print(f"| {what} | {goal} | {measured} |", flush=True)


def texts_of(path: Path) -> list[str]:
    table = read_table(path)
    column = next(name for name in ("text", "sentence") if name in table.columns)
    return [str(record.values[column]) for record in table]


def made(shape: str, folder: Path) -> str:
    """An int8 classifier after one epoch of training."""
    base = "starter"
    if shape != "starter":
        from benchmarks.training.train_sets import SETS, model_folder

        base = str(model_folder(shape, SETS[0], folder, folder))
    for command in (
        ["train", EXAMPLES, "--out", folder / "run", "--epochs", "1", "--model", base],
        ["export", folder / "run", "--int8", "--accept", "--train", EXAMPLES],
    ):
        command = [sys.executable, "-m", "onelayer", *map(str, command)]
        subprocess.run(command, check=True, capture_output=True)
    return str(folder / "run-int8")


# Throughput -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """The result of one turn, in wall-clock and CPU time."""

    texts: int
    seconds: float
    cpu_seconds: float
    client: float = 0.0
    """The client's CPU time."""

    @property
    def rate(self) -> float:
        return self.texts / self.seconds

    @property
    def cpu_a_text(self) -> float:
        return self.cpu_seconds / self.texts


def throughput(bench: Bench, file: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.serving.serve_load", "--engine"]
    command += ["--model", bench.model, "--texts", str(file)]
    turns: dict[str, list[Turn]] = {"predict": [], "logits": [], "1": [], "32": []}
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as engine,
        bench.server() as server,
    ):
        assert engine.stdin is not None
        assert engine.stdout is not None
        seconds = max(8 * bench.scale, 2.0)
        for number in range(6):
            for name in turns:
                if name in ("predict", "logits"):
                    print(name, seconds, file=engine.stdin, flush=True)
                    turn = Turn(*json.loads(engine.stdout.readline()))
                else:
                    turn = saturated(server, bench.requests(int(name)), int(name), seconds)
                if number:  # the first one is to warm up
                    turns[name].append(turn)
        engine.stdin.close()
    own = turns["predict"]
    logits = turns["logits"]
    row("engine throughput (tokenizing, logits, decoding), texts a second", "", rates(own))
    row("engine throughput, logits only, texts a second", "", rates(logits))
    for name in ("1", "32"):
        server_turns = turns[name]
        what = f"requests of {name}"
        left = 1 - median(t.client / t.seconds / CORES for t in server_turns)
        share = median(s.rate / o.rate for s, o in zip(server_turns, own, strict=True))
        row(f"{what}: texts a second", "", rates(server_turns))
        row(f"{what}: share of the engine throughput", "≥ 90 %", f"{share:.1%}")
        row(f"{what}: the same, without the client's share of the cores", "", f"{share / left:.1%}")
        cpu = median(o.cpu_a_text / s.cpu_a_text for s, o in zip(server_turns, own, strict=True))
        row(f"{what}: by CPU time a text", "≥ 90 %", f"{cpu:.1%}")
        row(f"{what}: cores that the client took", "", f"{(1 - left) * CORES:.2f} of {CORES}")


def rates(turns: Iterable[Turn]) -> str:
    found = sorted(turn.rate for turn in turns)
    return f"{median(found):,.0f} ({found[0]:,.0f} to {found[-1]:,.0f})"


def saturated(server: Server, requests: list[bytes], n: int, seconds: float) -> Turn:
    """``n`` texts a request, with enough concurrent requests for saturation."""
    stream = Stream(requests, SATURATING[n])
    cpu, client = server.cpu_seconds(), time.process_time()
    Client(server.port, stream).run(WARM_UP_SECONDS + seconds)
    statuses = Counter(answer.status for answer in stream.answers)
    assert set(statuses) == {200}, f"not only answers with 200: {dict(statuses)}"
    client = time.process_time() - client
    begin = stream.answers[0].due + WARM_UP_SECONDS
    came = (answer.due + answer.seconds for answer in stream.answers)
    in_time = sum(begin < moment <= begin + seconds for moment in came)
    # CPU time is that of all answers; the rate counts only the answers within the time.
    part = in_time / len(stream.answers)
    cpu = server.cpu_seconds() - cpu
    return Turn(n * in_time, seconds, part * cpu, part * client)


def engine_turns(model: str, texts: list[str]) -> None:
    """A separate process: one turn for each line, ``predict`` or ``logits`` and the seconds."""
    predictor = onelayer.load(model)
    rows = [predictor.row_by_role({"text": text}, i) for i, text in enumerate(texts, start=1)]
    rows = (rows * (1 + 1024 // len(rows)))[:1024] if len(rows) < 1024 else rows
    chunks = [rows[i : i + 1024] for i in range(0, len(rows) - 1023, 1024)]
    encoded = [
        predictor.task.encode(chunk, predictor.tokenizer, labelled=False) for chunk in chunks
    ]
    for line in sys.stdin:
        what, seconds = line.split()
        done, started, cpu = 0, time.perf_counter(), time.process_time()
        while (spent := time.perf_counter() - started) < float(seconds):
            number = done // 1024 % len(chunks)
            if what == "predict":
                predictor.predict_rows(chunks[number])
            else:
                predictor.engine.logits(encoded[number])
            done += 1024
        print(json.dumps([done, spent, time.process_time() - cpu]), flush=True)


# Overload ---------------------------------------------------------------------------------------


def overload(bench: Bench, _: Path) -> None:
    with bench.server() as server:
        requests = bench.requests(1)
        unloaded = Stream(requests, 1, count=max(int(1000 * bench.scale), 200))
        Client(server.port, Stream(requests, 1, count=100)).run(30)  # to warm up
        Client(server.port, unloaded).run(60)
        alone = unloaded.seconds(200)
        capacity = saturated(server, requests, 1, max(8 * bench.scale, 2.0)).rate
        seconds = max(20 * bench.scale, 4.0)
        crowd = Stream(requests, 480, rate=OVERLOAD * capacity)
        health = Stream([get("/health")], 1, rate=20.0)
        client = time.process_time()
        sent_for = Client(server.port, crowd, health).run(seconds)
        client = time.process_time() - client
    accepted, refused = crowd.seconds(200), crowd.seconds(429)
    others = len(crowd.answers) - len(accepted) - len(refused)
    begin = crowd.answers[0].due + BURST_SECONDS
    later = [a.seconds for a in crowd.answers if a.status == 200 and a.due > begin]
    row("unloaded, p50 and p99", "", f"{ms(quantile(alone, 0.5))}, {ms(quantile(alone, 0.99))}")
    row("capacity, requests of 1 text a second", "", f"{capacity:,.0f}")
    row("requests a second", f"{OVERLOAD} × that", f"{len(crowd.answers) / sent_for:,.0f}")
    row("accepted a second", "", f"{len(accepted) / sent_for:,.0f}")
    row("answered 429", "", f"{len(refused) / len(crowd.answers):.1%}")
    row("other answers, or none", "0", f"{others}")
    row("time to a 429, p50", "", ms(quantile(refused, 0.5)))
    row("time to a 429, p99", "≤ 50 ms", ms(quantile(refused, 0.99)))
    row("time to a 429, the slowest", "≤ 50 ms", ms(max(refused)))
    row("accepted, p50", "", ms(quantile(accepted, 0.5)))
    for what, waits in (("all", accepted), (f"after the first {BURST_SECONDS:g} s", later)):
        p99 = quantile(waits, 0.99)
        row(f"accepted, p99: {what}", "", ms(p99))
        row(f"accepted p99 / unloaded p99: {what}", "≤ 2", f"{p99 / quantile(alone, 0.99):.1f}")
    row("/health during the overload, p99", "< 50 ms", ms(quantile(health.seconds(200), 0.99)))
    row("/health during the overload, the slowest", "< 50 ms", ms(max(health.seconds(200))))
    row("cores that the client took", "", f"{client / sent_for:.2f} of {CORES}")


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


# Memory -----------------------------------------------------------------------------------------


def memory(bench: Bench, _: Path) -> None:
    total = int(100_000 * bench.scale)
    with bench.server() as server:
        requests = bench.requests(1)
        sizes, answered = [], 0
        for _part in range(11):  # the first one is to warm up
            stream = Stream(requests, SATURATING[1], count=total // 10)
            Client(server.port, stream).run(300)
            answered += len(stream.seconds(200))
            sizes.append(server.memory() / 2**20)
    row("requests, answered 200", f"{total:,}", f"{answered - total // 10:,}")
    row("memory before, MB", "", f"{sizes[0]:.1f}")
    row("after each tenth, MB", "", " ".join(f"{size:.1f}" for size in sizes[1:]))
    row("growth, MB", "flat", f"{sizes[-1] - sizes[0]:+.1f}")
    row("growth in the second half, MB", "flat", f"{sizes[-1] - sizes[5]:+.1f}")


# Hostile clients --------------------------------------------------------------------------------


def hostile(bench: Bench, _: Path) -> None:
    flags = {"header_timeout": 1, "body_timeout": 1, "idle_timeout": 2, "max_body": MAX_BODY}
    times = max(int(CLIENTS_PER_KIND * bench.scale), 5)
    good = [post(PATH, {"inputs": bench.texts[0]})]
    with bench.server(**flags) as server, ThreadPoolExecutor(times) as pool:
        large = [post(PATH, {"inputs": bench.texts[:500]})]
        Client(server.port, Stream(good, 8, count=2000)).run(60)
        small = server.memory()
        Client(server.port, Stream(large, 4, count=100)).run(60)
        time.sleep(RELEASE_SECONDS)
        before = server.memory()
        row(
            "memory after small good requests, and after large ones, MB",
            "",
            megabytes(small, before),
        )
        for name, cases in GROUPS.items():
            wrong: Counter[str] = Counter()
            most = 0
            for case in cases:
                found = pool.map(meets_its_outcome, [server.port] * times, [case] * times)
                wrong[case.name] += times - sum(found)
                most = max(most, server.memory() - before)
            others = Stream(good, 1, count=20)
            Client(server.port, others).run(30)
            fine = len(others.seconds(200)) == 20
            amiss = {case: n for case, n in wrong.items() if n}
            how = (
                "all refused with the right status"
                if not amiss
                else f"with the wrong status: {amiss}"
            )
            row(
                f"{name}: {len(cases)} cases, {times} clients each",
                "others are answered, < 10 MB",
                f"{how}; others {'are' if fine else 'ARE NOT'} answered; {most / 2**20:+.1f} MB",
            )
        time.sleep(RELEASE_SECONDS)
        row("memory after all of them, MB", "< 10", f"{(server.memory() - before) / 2**20:+.1f}")


def megabytes(*sizes: int) -> str:
    return ", ".join(f"{size / 2**20:.1f}" for size in sizes)


def meets_its_outcome(port: int, case: Case) -> bool:
    """Whether the server reacts correctly; while it is overloaded, 429 is as good as 200."""
    try:
        met = meet(port, case)
    except OSError:
        return False
    pairs = zip(met, case.outcome, strict=False)
    return len(met) == len(case.outcome) and all(a in (b, 429) for a, b in pairs)


# Restart ----------------------------------------------------------------------------------------


def restart(bench: Bench, _: Path) -> None:
    rounds = max(int(5 * bench.scale), 1)
    codes, counts = [], Counter[str]()
    for number in range(rounds):
        bench.log.unlink(missing_ok=True)
        texts = bench.texts
        requests = [
            post(PATH, {"inputs": texts[i % len(texts)]}, f"{number}-{i}") for i in range(40_000)
        ]
        stream = Stream(requests, SATURATING[1], count=len(requests))
        with bench.server() as first:
            client = Client(first.port, stream)
            thread = threading.Thread(target=client.run, args=(12.0,))
            thread.start()
            time.sleep(2)
            first.process.send_signal(signal.SIGTERM)
            codes.append(first.process.wait(60))
        with bench.server(port=first.port):
            thread.join()
        answered = {a.request for a in stream.answers if a.status == 200}
        logged = map(json.loads, bench.log.read_text(encoding="utf-8").splitlines())
        accepted = {line["id"] for line in logged if line.get("status") == 200}
        counts["accepted"] += len(accepted)
        counts["lost"] += len(accepted - {f"{number}-{i}" for i in answered})
        counts += Counter(str(answer.status) for answer in stream.answers)
    row("SIGTERM under load, then a new server", "", f"{rounds} times")
    row("exit codes", "0", " ".join(map(str, codes)))
    row("requests accepted, by the access log", "", f"{counts['accepted']:,}")
    row("accepted and not answered", "0", f"{counts['lost']}")
    row("connections closed with an unread request", "", f"{counts[str(CLOSED)]}")
    row("connections refused between the two servers", "", f"{counts[str(REFUSED)]:,}")
    told = {status: n for status, n in counts.items() if status.isdigit() and int(status) > 200}
    row("other statuses", "", f"{told or 'none'}")


PARTS: dict[str, Callable[[Bench, Path], None]] = {
    "throughput": throughput,
    "overload": overload,
    "memory": memory,
    "hostile": hostile,
    "restart": restart,
}

if __name__ == "__main__":
    main()
