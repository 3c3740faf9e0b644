"""The command line: parses arguments, calls a command and turns errors into exit codes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence

from onelayer import __version__
from onelayer.base.errors import FirstProcessFailedError, OneLayerError, Place, UsageError
from onelayer.cli import flags
from onelayer.cli.commands import compare, evaluate, export, predict, report, serve, shrink, train
from onelayer.cli.file_commands import convert, curve, inspect, models, next_rows

COMMANDS: flags.Commands = {
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "export": export,
    "shrink": shrink,
    "serve": serve,
    "report": report,
    "compare": compare,
    "inspect": inspect,
    "next": next_rows,
    "curve": curve,
    "convert": convert,
    "models": models,
}
ABOUT = "Fine-tune BERT on a labelled file: a pretrained encoder and one new layer."


EXTRAS = {
    **dict.fromkeys(("torch", "matplotlib", "nltk"), "train"),
    "onnx": "export",
    **dict.fromkeys(("onnxruntime", "starlette", "uvicorn", "prometheus_client"), "serve"),
}
"""The extra that installs a package, for packages that not every command needs."""
MAX_MESSAGE_LENGTH = 1000
"""Characters. Longer messages are cut: they quote files."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C."""


def _terminate(*_: object) -> None:
    raise Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0 done, 1 failed, 2 wrong usage or data,
    130 interrupted, 143 terminated."""
    signal.signal(signal.SIGTERM, _terminate)
    # Threads that spin while they wait would take cores from threads that have work. OpenMP reads
    # this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        _refuse_torchrun(given)
        flags.run("onelayer", ABOUT, __version__, COMMANDS, given)
        return 0
    except FirstProcessFailedError as error:
        return error.exit_code  # that process prints it, once
    except OneLayerError as error:
        return _fail(error, as_json)
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        _tell("terminated" if terminated else "interrupted", as_json)
        return 143 if terminated else 130
    except BrokenPipeError:
        # The reader of our output closed the pipe, as head does: Python must not flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in EXTRAS:
            raise
        hint = f"pip install 'onelayer[{EXTRAS[package]}]'"
        missing = UsageError(f"this needs {package}, which is not installed", hint=hint)
        return _fail(missing, as_json)
    except OSError as error:
        place = Place(error.filename) if error.filename else None
        return _fail(OneLayerError(error.strerror or str(error), place=place), as_json)


def _refuse_torchrun(given: Sequence[str]) -> None:
    """Several processes would each do all of the work."""
    if os.environ.get("WORLD_SIZE", "1") != "1" and list(given[:1]) != ["train"]:
        hint = "leave torchrun out: python -m onelayer ..."
        raise UsageError("torchrun is for train: others need no more than one process", hint=hint)


def _fail(error: OneLayerError, as_json: bool) -> int:
    _tell(_one_line(str(error)), as_json)
    return error.exit_code


def _tell(message: str, as_json: bool) -> None:
    """Prints an error in the format of stderr: text, or with ``--json`` a JSON object."""
    line = json.dumps({"error": message}, ensure_ascii=False) if as_json else f"onelayer: {message}"
    print(line, file=sys.stderr)


def _one_line(message: str) -> str:
    """A message without control characters: it quotes files, which may hold terminal commands."""
    line = " ".join(message.split())
    shown = line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[:MAX_MESSAGE_LENGTH]} …"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
