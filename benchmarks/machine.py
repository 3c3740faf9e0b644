"""What a benchmark was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        models = (line for line in info.read_text().splitlines() if line.startswith("model name"))
        cpu = next(models, cpu).split(":")[-1].strip()
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("onelayer", "torch", "transformers")
    )
    return f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {packages}"
