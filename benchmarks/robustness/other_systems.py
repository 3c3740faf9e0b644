"""Does onelayer-run answer on another system as it does here? It is compiled for that system by
Zig (``pip install ziglang cmake``), and run by an emulator, Wine, or what else can run it.

    python -m benchmarks.robustness.other_systems BUNDLE LINES \\
        --target x86_64-windows-gnu --run wine
    python -m benchmarks.robustness.other_systems BUNDLE LINES \\
        --target aarch64-linux-musl --run qemu-aarch64

It also tries a copy of the bundle under a name that isn't ASCII and ends with a slash. It ends with
1 where a byte differs. Without ``--run`` it only compiles, and says so.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from onelayer.base.compiled_code import c_sources
from onelayer.base.machine import cores

PROGRAM = "onelayer-run"
STRANGE = "Büro 北京 🙂"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("lines", type=Path, help="a text a line")
    parser.add_argument("--target", required=True, help="as csrc/zig.cmake has it")
    parser.add_argument("--run", help="a command that runs programs of that system")
    parser.add_argument("--builds", type=Path, default=Path("build"), help="kept between calls")
    parser.add_argument("--zig", default=f"{sys.executable} -m ziglang", help="Zig's command")
    arguments = parser.parse_args()
    there = build(
        arguments.builds.resolve() / arguments.target,
        f"-DCMAKE_TOOLCHAIN_FILE={c_sources('zig.cmake')}",
        f"-DZIG_TARGET={arguments.target}",
        f"-DZIG={arguments.zig}",
    )
    print(f"{there}: {there.stat().st_size / 1e6:.2f} MB")
    if arguments.run is None:
        print("compiled, and not run")
        return
    here = build(arguments.builds.resolve() / "native")
    given = arguments.lines.read_bytes()
    wanted = answers([str(here)], str(arguments.bundle), given)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, STRANGE)
        copied(arguments.bundle, copy)
        strange = f"{copy}/" if copy.is_dir() else str(copy)
        command = [*shlex.split(arguments.run), str(there)]
        for name in (str(arguments.bundle), strange):
            same = answers(command, name, given) == wanted
            print(f"{name}: {'the same bytes' if same else 'OTHER BYTES'}, {len(wanted):,}")
            if not same:
                sys.exit(1)


def build(folder: Path, *flags: str) -> Path:
    """Compiles onelayer-run."""
    source = str(c_sources())
    subprocess.run(["cmake", "-S", source, "-B", str(folder), *flags], check=True)
    subprocess.run(["cmake", "--build", str(folder), "-j", str(cores())], check=True)
    return next(path for path in (folder / PROGRAM, folder / f"{PROGRAM}.exe") if path.exists())


def copied(bundle: Path, to: Path) -> None:
    if bundle.is_dir():
        shutil.copytree(bundle, to)
    else:
        shutil.copy(bundle, to)


def answers(command: list[str], bundle: str, given: bytes) -> bytes:
    return subprocess.run(
        [*command, bundle], input=given, stdout=subprocess.PIPE, check=True
    ).stdout


if __name__ == "__main__":
    main()
