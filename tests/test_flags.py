"""Flags are derived from the commands' parameters and the fields of Recipe and Columns."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest

from onelayer.base.errors import UsageError
from onelayer.cli import commands
from onelayer.cli import main as cli
from onelayer.cli.flags import described, flags_of, run
from onelayer.recipe import Columns, Recipe

HEAVY = {"torch", "numpy", "pyarrow", "rich", "tokenizers", "safetensors", "importlib.metadata"}


@dataclass(frozen=True, kw_only=True)
class Paint:
    """What it is painted with. Applied twice.

    Parameters
    ----------
    colour
        One of two.
    coats
        How `often`, which may
        take two lines.
    dry
        Whether it dries in between.
    glossy
        Or matt; by default as it comes.
    """

    colour: Literal["red", "green"] = "red"
    coats: int = 2
    dry: bool = False
    glossy: bool | None = None


CALLS: list[tuple[Any, ...]] = []


def paint(wall: Path, room: str = "hall", /, *, price: float | None = None, with_: Paint) -> None:
    """Paint a wall. Twice.

    Parameters
    ----------
    wall
        Which wall.
    room
        Where it is.
    price
        What it may cost.
    """
    CALLS.append((wall, room, price, with_))


def whiten(wall: Path, /, *others: Path, with_: str = "chalk") -> None:
    """Whiten walls.

    Parameters
    ----------
    wall
        The first one.
    others
        More of them.
    with_
        What it is done with.
    """
    CALLS.append((wall, others, with_))


def parsed(*given: str) -> tuple[Any, ...]:
    CALLS.clear()
    run("house", "All about houses.", "1.0", {"paint": paint, "whiten": whiten}, given)
    (call,) = CALLS
    return call


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["north"], (Path("north"), "hall", None, Paint())),
        (["north", "-"], (Path("north"), "-", None, Paint())),
        (["--price", "-2.5", "north"], (Path("north"), "hall", -2.5, Paint())),
        (["n", "--coats=3", "--dry"], (Path("n"), "hall", None, Paint(coats=3, dry=True))),
        (["n", "--glossy"], (Path("n"), "hall", None, Paint(glossy=True))),
        (["n", "--no-glossy"], (Path("n"), "hall", None, Paint(glossy=False))),
        (["n", "--colour", "green"], (Path("n"), "hall", None, Paint(colour="green"))),
    ],
)
def test_flags_become_arguments_and_fields(given: list[str], expected: tuple[Any, ...]) -> None:
    assert parsed("paint", *given) == expected


def test_variadic_parameter_takes_many_arguments() -> None:
    north, south, east = map(Path, ("north", "south", "east"))
    assert parsed("whiten", "north") == (north, (), "chalk")
    assert parsed("whiten", "north", "south", "east") == (north, (south, east), "chalk")
    assert parsed("whiten", "north", "--with", "lime", "south") == (north, (south,), "lime")
    assert parsed("whiten", "--with", "-1pt", "north") == (north, (), "-1pt")
    others, with_ = flags_of(whiten)[1:]
    assert (str(others), str(with_)) == ("OTHERS", "--with")


def hang(*, picture: tuple[str, ...] = (), straight: bool = True) -> None:
    """Hang pictures.

    Parameters
    ----------
    picture
        Which pictures.
    straight
        Whether to look twice.
    """
    CALLS.append((tuple(picture), straight))


@pytest.mark.parametrize(
    ("given", "pictures"),
    [
        ([], ()),
        (["--picture", "sea"], ("sea",)),
        (["--picture", "sea, moon", "--picture=sun"], ("sea", "moon", "sun")),
    ],
)
def test_flag_of_a_tuple_is_repeated_or_split_at_commas(
    given: list[str], pictures: tuple[str, ...]
) -> None:
    CALLS.clear()
    run("house", "All about houses.", "1.0", {"hang": hang}, ["hang", *given])
    assert [(pictures, True)] == CALLS


def test_help_shows_the_no_form_of_a_flag() -> None:
    name, text = flags_of(hang)[1].in_help()
    assert name == "--straight or --no-straight"
    assert text == "Whether to look twice. [default: on]"
    access_log = next(flag for flag in flags_of(commands.serve) if flag.name == "access_log")
    assert "--no-access-log" in access_log.in_help()[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["pant", "x"], "no command 'pant'. Did you mean paint? (house --help)"),
        (["whitn"], "no command 'whitn'. Did you mean whiten? (house --help)"),
        (["--dry", "paint"], "name a command before --dry (house --help)"),
        (["paint"], "WALL is missing (house paint --help)"),
        (["paint", "n", "--coat", "3"], "--coat is not known. Did you mean --coats?"),
        (["paint", "n", "--clours=red"], "--clours=red is not known. Did you mean --colour?"),
        (["paint", "n", "h", "x"], "'x' is one argument too many (house paint --help)"),
        (["paint", "n", "--coats", "two"], "--coats: 'two' is not a whole number"),
        (["paint", "n", "--colour", "blue"], "--colour: 'blue' is not one of "),
        (["paint", "n", "--price"], "--price needs a value: a number"),
        (["paint", "n", "--colour"], "--colour needs a value: "),
    ],
)
def test_wrong_usage_is_refused_in_one_line(given: Sequence[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parsed(*given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("verb", "command"), [("evaluate", "eval"), ("evaluat", "eval"), ("comparr", "compare")]
)
def test_verb_of_the_python_api_leads_to_its_command(verb: str, command: str) -> None:
    with pytest.raises(UsageError, match=f"no command '{verb}'. Did you mean {command}?"):
        run("onelayer", cli.ABOUT, "1.0", cli.COMMANDS, [verb])


def test_help_comes_from_the_docstrings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run("house", "All about houses.", "1.0", {"paint": paint}, ["paint", "--help"])
    assert capsys.readouterr().out == (
        "Usage: house paint WALL [ROOM] [FLAGS]\n"
        "\n"
        "Paint a wall.\n"
        "\n"
        "Arguments\n"
        "  WALL                     Which wall.\n"
        "  ROOM                     Where it is.\n"
        "\n"
        "Flags\n"
        "  --price FLOAT            What it may cost.\n"
        "\n"
        "What it is painted with.\n"
        "  --colour CHOICE          One of two. [red, green] [default: red]\n"
        "  --coats INT              How often, which may take two lines. [default: 2]\n"
        "  --dry                    Whether it dries in between.\n"
        "  --glossy or --no-glossy  Or matt; by default as it comes.\n"
    )


def test_every_recipe_field_is_a_flag_with_help() -> None:
    flags = {flag.name: flag for flag in flags_of(commands.train)}
    for field in fields(Recipe):
        assert flags[field.name].default == field.default
        assert flags[field.name].help
    for command in (cli.evaluate, cli.predict, cli.compare, cli.inspect):
        names = {flag.name for flag in flags_of(command)}
        assert names >= {field.name for field in fields(Columns)}
        assert all(flag.help for flag in flags_of(command))
        assert described(command)[0].endswith(".")


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["serve", "--help"], ["--version"], []]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, onelayer.cli.main as cli; status = cli.main(sys.argv[1:])\n"
        f"print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert done.stdout


@pytest.mark.process
@pytest.mark.parametrize(
    ("setting", "in_colour"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)],
)
def test_help_is_coloured_only_on_a_colour_terminal(
    setting: dict[str, str], in_colour: bool
) -> None:
    here, there = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | setting
    command = [sys.executable, "-m", "onelayer", "--help"]
    subprocess.run(command, stdout=there, env=environment, check=True)
    os.close(there)
    shown = os.read(here, 65536).decode()
    os.close(here)
    assert "predict" in shown
    assert ("\033[" in shown) == in_colour
