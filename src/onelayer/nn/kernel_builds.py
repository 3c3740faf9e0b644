"""How training's kernels are compiled, and which of a wheel's libraries this processor can run."""

from __future__ import annotations

from pathlib import Path

from onelayer.base.compiled_code import Code, c_sources, machine_name
from onelayer.base.machine import instructions

FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp")
V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
BF16 = V4 | {"avx512_bf16"}
AMX = BF16 | {"amx_tile", "amx_bf16"}
"""The instruction sets of two levels of x86-64, and with products of bf16, by Linux's names."""
BUILDS: dict[str, dict[str, tuple[str, set[str]]]] = {
    "x86_64": {
        "amx": ("-march=x86-64-v4 -mavx512bf16 -mamx-tile -mamx-bf16", AMX),
        "bf16": ("-march=x86-64-v4 -mavx512bf16", BF16),
        "v4": ("-march=x86-64-v4", V4),
        "v3": ("-march=x86-64-v3", V3),
    },
    "aarch64": {"v8": ("-march=armv8-a", set())},
}
"""The libraries of a wheel for a kind of processor, the fastest first: the flags that each is
compiled with, and the instruction sets that it needs."""


def kernel_code(processor: str, functions: tuple[str, ...] = (), *facts: object) -> Code:
    """The kernels for a kind of processor, which flags name."""
    return Code(
        name="kernels",
        folders=(c_sources("training"),),
        flags=(*FLAGS, *processor.split()),
        functions=functions,
        facts=facts,
    )


def prebuilt_kernels() -> Path | None:
    """The fastest library in the package that this processor can run; None without one."""
    for name, (_, sets) in BUILDS.get(machine_name(), {}).items():
        path = Path(__file__).with_name(prebuilt_name(name))
        if sets <= instructions() and path.exists():
            return path
    return None


def prebuilt_name(build: str) -> str:
    """The file of a build."""
    return f"kernels-{build}.so"
