"""The command line: parses, calls, prints. Results on stdout, remarks on stderr."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence

from onelayer import __version__
from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.cli import flags
from onelayer.cli.commands import compare, evaluate, export, inspect, predict, report, serve, train

COMMANDS: flags.Commands = {
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "export": export,
    "serve": serve,
    "report": report,
    "compare": compare,
    "inspect": inspect,
}
ABOUT = "Fine-tune BERT on a labelled file: a pretrained encoder and one new layer."


EXTRAS = {
    **dict.fromkeys(("torch", "matplotlib", "nltk"), "train"),
    "onnx": "export",
    **dict.fromkeys(("onnxruntime", "starlette", "uvicorn", "prometheus_client"), "serve"),
}
"""What brings the packages that not every command needs."""
LONGEST_LINE = 1000
"""Characters of a message."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which unwinds as Ctrl-C does."""


def _terminate(*_: object) -> None:
    raise Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0 done, 1 failed, 2 wrong usage or data,
    130 interrupted, 143 terminated."""
    signal.signal(signal.SIGTERM, _terminate)
    # Threads that spin while they wait for work take a busy machine's cores from the one that has
    # it. Read once, when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        flags.run("onelayer", ABOUT, __version__, COMMANDS, given)
        return 0
    except OneLayerError as error:
        return _fail(error, as_json)
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        _tell("terminated" if terminated else "interrupted", as_json)
        return 143 if terminated else 130
    except BrokenPipeError:
        # Who read our output has seen enough; Python must not flush into the closed pipe at exit.
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


def _fail(error: OneLayerError, as_json: bool) -> int:
    _tell(_one_line(str(error)), as_json)
    return error.exit_code


def _tell(message: str, as_json: bool) -> None:
    """An error in the format of the stream: text, or with ``--json`` an object a line."""
    line = json.dumps({"error": message}, ensure_ascii=False) if as_json else f"onelayer: {message}"
    print(line, file=sys.stderr)


def _one_line(message: str) -> str:
    """A message quotes files, and what is in them must not reach the terminal as commands to it."""
    line = " ".join(message.split())
    shown = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
