"""Types of requests and answers. They validate requests, and the OpenAPI document shows them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING
from functools import cache
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    create_model,
    model_validator,
)

from onelayer.base.text_offsets import CODE_POINTS, OffsetUnit
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.long_texts import LongTextPolicy
from onelayer.tasks import AnyTask

M = TypeVar("M", bound=BaseModel)
X = TypeVar("X")


class Strict(BaseModel):
    """Converts nothing and forbids unknown fields, so a misspelt option is an error."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Health(Strict):
    status: str


class Borrowed(Strict):
    """Part of a request in another server's protocol. As there, unknown fields are ignored; null
    stands for the default."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if value is not None}
        return values


class BorrowedOptions(Borrowed):
    """Options of another protocol. Unknown ones are refused: they might change the answer."""

    model_config = ConfigDict(extra="forbid")


def _quantity(value: object) -> str:
    return "~several" if isinstance(value, list) else "~one"


def _shape(value: object) -> str:
    return "~text" if isinstance(value, str) else "~object"


# The form of the value chooses one alternative, so an error is about that one only.
OneOrSeveral = Annotated[
    Annotated[X, Tag("~one")] | Annotated[list[X], Field(min_length=1), Tag("~several")],
    Discriminator(_quantity),
]
OrText = Annotated[
    Annotated[str, Tag("~text")] | Annotated[X, Tag("~object")], Discriminator(_shape)
]


class Ask(Strict, Generic[X]):
    """The inputs, and ``long``: what happens to a text that is longer than the model's limit."""

    inputs: OneOrSeveral[X]
    long: LongTextPolicy = "window"


Share = Annotated[float, Field(gt=0, lt=1)]

COVERAGE = (
    "Adds a set of labels to each prediction, which has the right one with this probability, on "
    "average over dev sets."
)
ABSTAIN = (
    "Withholds doubtful labels, so that for 90 % of dev sets at most this share of the others is "
    "wrong."
)
OFFSETS = (
    "What `start` and `end` count: code points as Python, UTF-16 units as Java and JavaScript, or "
    "UTF-8 bytes as Go and Rust."
)


class Guarantees(Strict):
    """The fields of a request for a task that gives guarantees."""

    coverage: Annotated[Share | None, Field(description=COVERAGE)] = None
    abstain: Annotated[Share | None, Field(description=ABSTAIN)] = None


class OffsetChoice(Strict):
    """The field of a request for a task whose predictions have positions."""

    offsets: Annotated[OffsetUnit, Field(description=OFFSETS)] = CODE_POINTS


@cache
def strict_model(of: type[Any], name: str) -> type[Strict]:
    """A model with the fields of a dataclass, and with the constraints in their metadata. The name
    is that in the OpenAPI document."""
    hints = get_type_hints(of)
    fields: dict[str, Any] = {
        field.name: (
            Annotated[hints[field.name], Field(**field.metadata)],
            ... if field.default is MISSING else field.default,
        )
        for field in dataclasses.fields(of)
    }
    return create_model(name, __base__=Strict, __doc__=of.__doc__, **fields)


@cache
def ask_model(kind: type[AnyTask]) -> type[Ask[Any]]:
    """The body of a request to a task's route. If a row needs one text only, a string is enough."""
    of: Any = kind.wire_input()
    one: Any = strict_model(of, f"{kind.name.title()}Input")
    _, *others = one.model_fields.values()
    if not any(field.is_required() for field in others):
        one = OrText[one]  # type: ignore[misc]
    base: Any = Ask[one]
    more = [
        base for base, has in ((Guarantees, kind.promises), (OffsetChoice, kind.has_offsets)) if has
    ]
    made: type[Ask[Any]] = create_model(
        f"{kind.name.title()}Request", __base__=(base, *more), __doc__=Ask.__doc__
    )
    return made


def values_by_role(kind: type[AnyTask], one: str | Strict) -> dict[str, Any]:
    """An input's values by role. A plain string is the value of the first role."""
    if isinstance(one, str):
        return {kind.columns.inputs[0]: one}
    return one.model_dump(exclude_none=True)


def parse_body(kind: type[M], body: bytes) -> M:
    """Parses and validates a request's body.

    Raises RequestError: 400 if it isn't JSON, 422 if it doesn't fit ``kind``.
    """
    try:
        return kind.model_validate(from_json(body))
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        message = "Input should be an object" if first["type"] == "model_type" else first["msg"]
        place = ".".join(str(part) for part in first["loc"] if not str(part).startswith("~"))
        more = f" (and {len(others)} more)" if others else ""
        raise RequestError(422, f"{place}: {message}{more}" if place else message) from None


def from_json(body: bytes) -> Any:
    """Parses JSON that all parsers read alike: no NaN, no key twice, no half of a surrogate pair.

    Raises RequestError.
    """
    try:
        text = body.decode()
        value = _decode(text)
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise RequestError(400, "no JSON that can be read: nested too deeply") from None
    except UnicodeEncodeError:
        raise RequestError(400, "no JSON that can be read: half of a surrogate pair") from None
    except UnicodeDecodeError as error:
        raise RequestError(400, f"no JSON: no UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise RequestError(400, f"no JSON that can be read: {error}") from None
    return value


_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number")


_decode = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse).decode
