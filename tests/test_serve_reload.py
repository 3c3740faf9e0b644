"""A model is replaced while it is served: by POST or SIGHUP, without losing a request."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import shutil
import signal
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from starlette.testclient import TestClient

from onelayer import CheckpointError, load
from onelayer.serving.http.admission import CallerRules
from onelayer.serving.http.app import App
from onelayer.serving.limits import Limits
from onelayer.serving.reloading import Reloader
from onelayer.serving.scheduler.job_queue import Job, JobQueue
from onelayer.serving.service import Service
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from support.server_process import Server, until
from support.tiny_bert import MakeBert

OLD, NEW = ("bad", "good"), ("no", "yes", "perhaps")
CLASSIFY, RELOAD = "/v1/models/m/classify", "/v1/models/m/reload"

MakeModel = Callable[..., Path]


@pytest.fixture
def directory(make_bert: MakeBert, tmp_path: Path) -> Path:
    """The directory of a model that is served."""
    return shutil.copytree(classifier(make_bert, OLD), tmp_path / "served")


def classifier(make_bert: MakeBert, labels: tuple[str, ...]) -> Path:
    return make_bert("BertForSequenceClassification", labels=labels)


def replace(directory: Path, source: Path) -> None:
    """Puts another model into the place of the served one."""
    shutil.rmtree(directory)
    shutil.copytree(source, directory)


def serving(directory: Path, **rules: Any) -> App:
    """The application of a server that has loaded the model."""
    service = Service({}, Limits(), None, CallerRules(**{"may_reload": True} | rules))
    reloader = Reloader(service, {"m": str(directory)}, None)
    app = App(service, reloader)
    loading = threading.Thread(target=reloader.load_all)  # lowers the priority of its thread
    loading.start()
    loading.join()
    app.open()
    return app


def labels(client: TestClient) -> tuple[str, ...]:
    answer = client.post(CLASSIFY, json={"inputs": "a cat"})
    assert answer.status_code == 200, answer.text
    return tuple(answer.json()["predictions"][0]["probabilities"])


def test_reload_answers_with_the_new_model(make_bert: MakeBert, directory: Path) -> None:
    app = serving(directory)
    with TestClient(app) as client:
        assert labels(client) == OLD
        old = weakref.ref(app.service.models["m"].engine)
        replace(directory, classifier(make_bert, NEW))
        assert labels(client) == OLD  # nothing happens before it is told to

        answer = client.post(RELOAD)
        assert (answer.status_code, answer.json()["labels"]) == (200, list(NEW))
        assert labels(client) == NEW
        assert client.get("/v1/models/m").json()["labels"] == list(NEW)
        assert client.post("/v2/repository/models/m/load").status_code == 200
        gc.collect()
        assert old() is None, "the old model is still in memory"


def nan_weights(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    weights["classifier.bias"] = torch.full_like(weights["classifier.bias"], float("nan"))
    save_file(weights, directory / "model.safetensors")


def cut_weights(directory: Path) -> None:
    data = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (nan_weights, "holds NaN"),
        (cut_weights, "model.safetensors"),
        (shutil.rmtree, "new one: m"),
        (lambda directory: (directory / "config.json").write_text("{"), "config.json"),
    ],
)
def test_broken_new_model_leaves_the_old_one(
    directory: Path, capsys: pytest.CaptureFixture[str], damage: Any, reason: str
) -> None:
    with TestClient(serving(directory)) as client:
        shutil.move(directory, directory.with_name("old"))  # an engine may have its files open
        shutil.copytree(directory.with_name("old"), directory)
        damage(directory)
        answer = client.post(RELOAD)

        assert answer.status_code == 409
        assert "the earlier model still answers" in answer.json()["detail"]
        assert reason in answer.json()["detail"]
        assert str(directory.parent) not in answer.json()["detail"]
        assert reason in capsys.readouterr().err
        assert labels(client) == OLD


def test_model_that_answers_nan_is_not_served(directory: Path) -> None:
    class Broken:
        name = "broken"

        def logits(self, encodings: Encodings) -> Logits:
            return np.full((len(encodings.reads), 2), np.nan, np.float32)

    batcher = Service({}, Limits()).batcher
    with pytest.raises(CheckpointError, match="not finite numbers"):
        batcher.warm_up("m", dataclasses.replace(load(directory), engine=Broken()))


def test_model_for_another_task_is_not_taken(make_bert: MakeBert, directory: Path) -> None:
    with TestClient(serving(directory)) as client:
        replace(directory, make_bert("BertForTokenClassification", labels=("B-X", "O")))
        answer = client.post(RELOAD)
        assert answer.status_code == 409
        assert "it is for tag, and callers ask for classify" in answer.json()["detail"]
        assert labels(client) == OLD


def test_reload_has_to_be_allowed(directory: Path) -> None:
    with TestClient(serving(directory, may_reload=False)) as client:
        for path in (RELOAD, "/v2/repository/models/m/load"):
            answer = client.post(path)
            assert answer.status_code == 403
            assert "--allow-reload" in answer.json()["detail"]
    with TestClient(serving(directory, keys=["k"])) as client:
        assert client.post(RELOAD).status_code == 401
        assert client.post(RELOAD, headers={"x-api-key": "k"}).status_code == 200
    with TestClient(serving(directory)) as client:
        of_page = client.post(RELOAD, headers={"origin": "http://testserver"})
        assert of_page.status_code == 403
        assert client.post("/v1/models/other/reload").status_code == 404
        changed = client.post("/v2/repository/models/m/load", json={"parameters": {"config": "{}"}})
        assert changed.status_code == 422


def test_no_request_is_lost_while_models_are_replaced(make_bert: MakeBert, directory: Path) -> None:
    sources = [classifier(make_bert, names) for names in (NEW, OLD)]
    expected = {
        names: load(source).predict(["a cat"])[0].probabilities
        for names, source in zip((NEW, OLD), sources, strict=True)
    }
    app = serving(directory)

    async def story() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers: list[httpx.Response] = []
            over = asyncio.Event()

            async def keep_asking() -> None:
                while not over.is_set():
                    answers.append(await client.post(CLASSIFY, json={"inputs": "a cat"}))

            callers = [asyncio.create_task(keep_asking()) for _ in range(8)]
            for source in (*sources, *sources):
                replace(directory, source)
                answers.append(await client.post(RELOAD))
            over.set()
            await asyncio.gather(*callers)
            return answers

    try:
        answers = asyncio.run(story())
    finally:
        app.service.batcher.close()
    assert {answer.status_code for answer in answers} == {200}
    found = [
        one["predictions"][0]["probabilities"]
        for a in answers
        if "predictions" in (one := a.json())
    ]
    assert {tuple(one) for one in found} == {OLD, NEW}
    for one in found:
        assert one == pytest.approx(expected[tuple(one)], rel=1e-4)


def test_one_model_is_loaded_at_a_time(directory: Path) -> None:
    app = serving(directory)

    async def two() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = await asyncio.gather(client.post(RELOAD), client.post(RELOAD))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(two()) == [200, 409]


def test_models_of_one_name_share_no_batch(directory: Path) -> None:
    old, new = load(directory), load(directory)
    queue = JobQueue()

    async def fill() -> None:
        for predictor in (old, new, old):
            row = predictor.row_by_role({"text": "a cat"}, 1)
            answer = asyncio.get_running_loop().create_future()
            job = Job("m", predictor, [row], "window", 5, answer, arrived=0.0)
            job.set_encodings(predictor.task.encode([row], predictor.tokenizer, False), 0)
            queue.add([job])

    asyncio.run(fill())
    batches = []
    while (batch := queue.take(1000)) is not None:
        batches.append([one.job.predictor for one in batch.slices])
    assert batches == [[old, old], [new]]


@pytest.mark.process
def test_sighup_reloads_every_model(make_bert: MakeBert, directory: Path, tmp_path: Path) -> None:
    def labels_served(server: Server) -> list[str]:
        names: list[str] = json.loads(server.request("GET", "/v1/models/m")[1])["labels"]
        return names

    with Server(f"m={directory}", log=tmp_path / "log", notice=0) as server:
        assert labels_served(server) == list(OLD)
        assert server.request("POST", RELOAD)[0] == 403
        shutil.rmtree(directory)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: '"reload": "failed"' in (tmp_path / "log").read_text())
        assert labels_served(server) == list(OLD)
        shutil.copytree(classifier(make_bert, NEW), directory)
        with ThreadPoolExecutor(1) as caller:
            asked = [
                caller.submit(server.request, "POST", CLASSIFY, {"inputs": "a"}) for _ in "123"
            ]
            server.process.send_signal(signal.SIGHUP)
            assert {answer.result()[0] for answer in asked} == {200}
        until(lambda: labels_served(server) == list(NEW))
        until(lambda: '"reload": "done"' in (tmp_path / "log").read_text())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_exported_model_keeps_its_engine_unless_another_kind_comes(
    make_bert: MakeBert, bundle: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(bundle, tmp_path / "served")
    app = serving(directory)
    with TestClient(app) as client:
        engine = app.service.models["m"].engine.name
        assert client.post(RELOAD).json()["engine"] == engine
        replace(directory, classifier(make_bert, NEW))
        assert client.post(RELOAD).json()["engine"] == "torch"
        replace(directory, bundle)
        assert client.post(RELOAD).json()["engine"] != "torch"
