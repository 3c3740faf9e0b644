"""Makes a command line of functions.

A function's parameters are a command's arguments and flags. A parameter that is a dataclass stands
for its fields, each a flag. The docstrings (numpydoc) are the help.

argparse does the parsing: libraries that do more take longer to import than ``--help`` should take.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from onelayer.base.errors import UsageError
from onelayer.cli.help import print_help

Commands = Mapping[str, Callable[..., None]]

KINDS = {int: "a whole number", float: "a number"}
"""What a flag of a type takes, in words. Other flags take a text."""
_PARAMETERS = re.compile(r"^Parameters\n-+\n", re.MULTILINE)
_SIGNED = re.compile(r"-\.?\d")
"""The beginning of a value below zero."""
_PARAMETER = re.compile(r"^(\w+)\n((?: +.*\n?)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Known:
    """Marks a flag by ``Annotated``: help lists these values, and the command refuses others."""

    values: Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Flag:
    """An argument or flag; ``type`` turns its text into its value."""

    name: str
    type: Any
    choices: tuple[str, ...] | None
    default: Any
    help: str
    heading: str
    positional: bool = False
    several: bool = False
    """Whether it takes any number of values: ``*others`` of a function, or a flag of a tuple, which
    may be repeated or have commas."""
    known: Known | None = None

    def __str__(self) -> str:
        if self.positional:
            return self.name.upper()
        if len(self.name) == 1:
            return f"-{self.name}"
        # Python's keywords get an underscore: with_ is --with.
        return "--" + self.name.rstrip("_").replace("_", "-")

    def in_help(self) -> tuple[str, str]:
        """The name with what it takes, and the text with its choices and default."""
        takes = "TEXT" if self.type is str else self.type.__name__.upper()
        if self.type is bool:
            takes = "" if self.default is False else f"or --no-{str(self)[2:]}"
        name = str(self) if self.positional else f"{self} {'CHOICE' if self.choices else takes}"
        listed = self.choices or (self.known and self.known.values())
        choices = f" [{', '.join(listed)}]" if listed else ""
        unsaid = self.positional or self.several or self.default is None or self.default is False
        default = "on" if self.default is True else self.default
        return name, self.help + choices + ("" if unsaid else f" [default: {default}]")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def run(program: str, about: str, version: str, commands: Commands, given: Sequence[str]) -> None:
    """Calls the command that the first argument names, or prints help. Raises UsageError."""
    name, *rest = given or ["--help"]
    if name in ("--help", "-h"):
        named = [(command, described(function)[0]) for command, function in commands.items()]
        flags = [
            ("--help, -h", "Show this help, or that of a command."),
            ("--version", "Print the version."),
        ]
        print_help(f"{program} COMMAND", about, {"Commands": named, "Flags": flags})
    elif name == "--version":
        print(version)
    elif name not in commands:
        if name.startswith("-"):
            raise UsageError(f"name a command before {name}", hint=f"{program} --help")
        # The functions' names are those of the Python API, such as evaluate for eval.
        verbs = {function.__name__: command for command, function in commands.items()}
        near = _nearest(name, [*commands, *verbs])
        meant = f". Did you mean {verbs.get(near, near)}?" if near else ""
        raise UsageError(f"no command {name!r}{meant}", hint=f"{program} --help")
    else:
        _call(f"{program} {name}", commands[name], rest)


def _call(program: str, function: Callable[..., None], given: Sequence[str]) -> None:
    flags = flags_of(function)
    if not {"--help", "-h"}.isdisjoint(given):
        usage = [_in_usage(flag) for flag in flags if flag.positional]
        sections: dict[str, list[tuple[str, str]]] = {}
        for flag in flags:
            sections.setdefault(flag.heading, []).append(flag.in_help())
        print_help(" ".join([program, *usage, "[FLAGS]"]), described(function)[0], sections)
        return
    values = _parse(program, flags, given)
    for name, record in get_type_hints(function).items():
        if is_dataclass(record):
            own = {field.name for field in fields(record)} & values.keys()
            make: Any = record
            values[name] = make(**{key: values.pop(key) for key in own})
    arguments: list[Any] = []
    for flag in flags:
        if flag.positional and flag.name in values:
            value = values.pop(flag.name)
            arguments += value if flag.several else [value]
    function(*arguments, **values)


def _parse(program: str, flags: Sequence[Flag], given: Sequence[str]) -> dict[str, Any]:
    """The given values by the names of the flags. Raises UsageError.

    argparse only assigns texts to flags. The checks are here, so that all messages have one form.
    """
    parser = _Parser(program, add_help=False, allow_abbrev=False)
    for flag in flags:
        more: dict[str, Any] = {"default": argparse.SUPPRESS}
        if flag.type is bool:
            more |= {"action": argparse.BooleanOptionalAction}
        elif flag.several and not flag.positional:
            more |= {"action": "append", "nargs": "?"}
        else:
            more |= {"nargs": "*" if flag.several else "?"}
        if not flag.positional:
            more |= {"dest": flag.name}
        parser.add_argument(flag.name if flag.positional else str(flag), **more)
    for name, equals, _ in (text.partition("=") for text in given):
        if equals and any(flag.type is bool and name == str(flag) for flag in flags):
            parser.error(f"{name} takes no value: give {name} or --no-{name[2:]}")
    found, unknown = parser.parse_known_intermixed_args(_with_signs(flags, given))
    if unknown and unknown[0].startswith("-"):
        known = [str(flag) for flag in flags if not flag.positional]
        parser.error(f"{unknown[0]} is not known{_meant(unknown[0], known)}")
    if unknown:
        parser.error(f"{unknown[0]!r} is one argument too many")
    values = vars(found)
    for flag in flags:
        if flag.name in values and flag.type is not bool:
            values[flag.name] = _value(parser, flag, values[flag.name])
        elif flag.positional and not flag.several and flag.default is MISSING:
            parser.error(f"{flag} is missing")
    return values


def _with_signs(flags: Sequence[Flag], given: Sequence[str]) -> list[str]:
    """The arguments with values such as ``-1pt`` joined to their flags: alone, argparse would take
    them for flags."""
    takes = {str(flag) for flag in flags if flag.type is not bool and str(flag).startswith("--")}
    joined: list[str] = []
    for text in given:
        if joined and joined[-1] in takes and _SIGNED.match(text):
            joined[-1] += f"={text}"
        else:
            joined.append(text)
    return joined


def _value(parser: _Parser, flag: Flag, text: Any) -> Any:
    """The value of a text that was given for a flag. Raises UsageError."""
    if flag.several and flag.positional:
        return [flag.type(one) for one in text]
    if flag.several:
        if None in text:
            parser.error(f"{flag} needs a value")
        return [part for one in text for part in _split_at_commas(one)]
    takes = KINDS.get(flag.type, "a text")
    if text is None:
        parser.error(f"{flag} needs a value: {' or '.join(flag.choices or (takes,))}")
    if flag.choices and text not in flag.choices:
        meant = _meant(text, flag.choices)
        parser.error(f"{flag}: {text!r} is not one of {', '.join(flag.choices)}{meant}")
    try:
        return flag.type(text)
    except ValueError:
        parser.error(f"{flag}: {text!r} is not {takes}")


def _in_usage(flag: Flag) -> str:
    if flag.several:
        return f"[{flag} ...]"
    return str(flag) if flag.default is MISSING else f"[{flag}]"


def flags_of(function: Callable[..., None]) -> list[Flag]:
    """A command's arguments and flags, in order; those of a dataclass have their own heading."""
    hints, texts = get_type_hints(function, include_extras=True), described(function)[1]
    flags = []
    for name, parameter in inspect.signature(function).parameters.items():
        record: Any = hints[name]
        if is_dataclass(record):
            its, default = get_type_hints(record), {f.name: f.default for f in fields(record)}
            for heading, own in map(described, reversed(hints[name].__mro__[:-1])):
                flags += [Flag(n, *_type(its[n]), default[n], own[n], heading) for n in own]
            continue
        variadic = parameter.kind is parameter.VAR_POSITIONAL
        several = variadic or get_origin(hints[name]) is tuple
        positional = variadic or parameter.kind is parameter.POSITIONAL_ONLY
        initial = MISSING if parameter.default is parameter.empty else parameter.default
        heading = "Arguments" if positional else "Flags"
        marks = getattr(hints[name], "__metadata__", ())
        known = next((mark for mark in marks if isinstance(mark, Known)), None)
        of_type, text = _type(hints[name]), texts[name]
        flags.append(Flag(name, *of_type, initial, text, heading, positional, several, known))
    return flags


def _split_at_commas(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _type(hint: Any) -> tuple[Any, tuple[str, ...] | None]:
    """The function that makes a value of a text, and the choices, if any."""
    if get_origin(hint) is Literal:
        return str, get_args(hint)
    inner = [part for part in get_args(hint) if part is not NoneType]
    return _type(inner[0]) if inner else (hint, None)


def described(thing: object) -> tuple[str, dict[str, str]]:
    """A docstring's first sentence, and its text for each parameter."""
    head, *section = _PARAMETERS.split(inspect.cleandoc(thing.__doc__ or ""), maxsplit=1)
    sentence = re.split(r"(?<=\.)\s", head, maxsplit=1)[0]
    texts = {name: _plain(text) for name, text in _PARAMETER.findall("".join(section))}
    return _plain(sentence), texts


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def _meant(name: str, known: Iterable[str]) -> str:
    near = _nearest(name.partition("=")[0], known)
    return f". Did you mean {near}?" if near else ""


def _nearest(name: str, known: Iterable[str]) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)
