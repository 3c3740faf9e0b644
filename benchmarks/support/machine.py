"""The machine and the versions that a benchmark ran with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

import onelayer


def machine(*others: str) -> str:
    """Processor, threads, and versions of torch, transformers and ``packages``, if installed."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        models = (line for line in info.read_text().splitlines() if line.startswith("model name"))
        cpu = next(models, cpu).split(":")[-1].strip()
    packages = ", ".join(
        f"{name} {version(name)}"
        for name in ("torch", "transformers", *others)
        if find_spec(name.replace("-", "_"))
    )
    packages = f"onelayer {onelayer.__version__}, {packages}"
    return f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {packages}"
