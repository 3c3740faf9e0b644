"""The image, the compose file and the server that they start fit together."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from onelayer.cli.main import main
from onelayer.serving.http.allowed_hosts import AllowedHosts
from onelayer.serving.limits import Limits
from support.server_process import Server

ROOT = Path(__file__).parent.parent


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, without comments, with continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (x.partition(" ") for x in text.splitlines())]


def last(name: str) -> str:
    return [rest for word, rest in instructions() if word == name][-1]


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8")))


def test_image_runs_without_root_and_stops_on_sigterm() -> None:
    assert last("USER").split(":")[0].isdecimal()
    assert last("USER").split(":")[0] != "0"
    assert last("STOPSIGNAL") == "SIGTERM"
    finals = [rest for word, rest in instructions() if word == "FROM"]
    assert "build" in finals[0]
    assert finals[-1].endswith("-slim"), "no compiler in what is kept"


def test_image_build_includes_the_package_sources() -> None:
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    assert {"src", "pyproject.toml", "constraints.txt"} < set(kept)
    assert all((ROOT / name).exists() for name in kept)


def test_image_command_is_accepted_by_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    program, *command = [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
    assert program == "onelayer"
    handler = signal.getsignal(signal.SIGINT)
    assert main(command) == 2
    assert "/models/model" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) == handler


@pytest.mark.process
def test_health_check_succeeds_only_while_the_server_runs(bundle: Path, tmp_path: Path) -> None:
    python, *check = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    assert python == "python"
    with Server(f"m={bundle}", log=tmp_path / "log", notice=0) as server:
        port = last("EXPOSE")
        here = [sys.executable, *(part.replace(f":{port}/", f":{server.port}/") for part in check)]
        assert f":{server.port}/" in here[-1]
        assert subprocess.run(here, capture_output=True).returncode == 0
    assert subprocess.run(here, capture_output=True).returncode != 0


def test_compose_mounts_the_served_model() -> None:
    service = compose()["services"]["onelayer"]
    model, *_ = service["command"]
    assert any(volume.endswith(f":{model}:ro") for volume in service["volumes"])
    assert service["read_only"]
    assert service["ports"] == [f"127.0.0.1:{last('EXPOSE')}:{last('EXPOSE')}"]
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert grace > Limits().notice + Limits().drain_timeout


def test_server_allows_the_host_name_used_by_prometheus() -> None:
    _, *flags = compose()["services"]["onelayer"]["command"]
    allowed = AllowedHosts.of_server(
        "0.0.0.0", "0.0.0.0", flags[flags.index("--allowed-host") + 1 :]
    )
    assert allowed.refuse(f"onelayer:{last('EXPOSE')}".encode()) is None
    assert allowed.refuse(b"172.17.0.2:8080") is None  # a health check from outside
    assert allowed.refuse(b"evil.example") is not None


def test_prometheus_scrapes_the_server() -> None:
    config = yaml.safe_load((ROOT / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"onelayer:{last('EXPOSE')}"]}]
    assert job.get("metrics_path", "/metrics") == "/metrics"
    mounted = [v.split(":")[0] for v in compose()["services"]["prometheus"]["volumes"]]
    assert "./prometheus.yml" in mounted


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with Prometheus")
def test_prometheus_configuration_is_valid() -> None:
    subprocess.run(["promtool", "check", "config", str(ROOT / "prometheus.yml")], check=True)
