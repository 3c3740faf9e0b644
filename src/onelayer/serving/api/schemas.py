"""What the routes take and give, as types: they check requests, and the OpenAPI is made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.long_texts import LongTextPolicy

M = TypeVar("M", bound=BaseModel)
X = TypeVar("X")


class Strict(BaseModel):
    """Nothing is converted, and nothing unknown is passed over: a misspelt option is told of."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Text(Strict):
    """A text, or the two texts of a pair."""

    text: str
    pair: str | None = None


class Sentence(Strict):
    """A text whose words get tags."""

    text: str


class Question(Strict):
    """A question, and the passage that may answer it."""

    question: str
    context: str


class Options(Strict):
    """Options to choose among in a context, and what is asked about it."""

    context: str
    question: str | None = None
    options: Annotated[list[str], Field(min_length=2)]


def _quantity(value: object) -> str:
    return "~several" if isinstance(value, list) else "~one"


def _shape(value: object) -> str:
    return "~text" if isinstance(value, str) else "~object"


# What is there decides what it was meant to be, so that an error is about that alone.
OneOrSeveral = Annotated[
    Annotated[X, Tag("~one")] | Annotated[list[X], Field(min_length=1), Tag("~several")],
    Discriminator(_quantity),
]
OrText = Annotated[
    Annotated[str, Tag("~text")] | Annotated[X, Tag("~object")], Discriminator(_shape)
]


class Ask(Strict, Generic[X]):
    """What to predict for; ``long`` says what happens to a text that isn't read at once."""

    inputs: OneOrSeveral[X]
    long: LongTextPolicy = "window"


class AskClassify(Ask[OrText[Text]]):
    """``coverage`` adds sets of labels that hold the right one with that chance; ``abstain`` leaves
    out labels, so that no more than that share is wrong."""

    coverage: Annotated[float, Field(gt=0, lt=1)] | None = None
    abstain: Annotated[float, Field(gt=0, lt=1)] | None = None


class AskRegress(Ask[OrText[Text]]):
    pass


class AskTag(Ask[OrText[Sentence]]):
    pass


class AskAnswer(Ask[Question]):
    pass


class AskChoose(Ask[Options]):
    pass


ASK: dict[str, type[Ask[Any]]] = {
    "classify": AskClassify,
    "regress": AskRegress,
    "tag": AskTag,
    "answer": AskAnswer,
    "choose": AskChoose,
}


def by_role(one: str | Strict) -> dict[str, Any]:
    """An input's values by role; of a plain string, a text."""
    return {"text": one} if isinstance(one, str) else one.model_dump(exclude_none=True)


def parse(kind: type[M], body: bytes) -> M:
    """A request's body. Raises RequestError: 400 where it is no JSON, 422 where it has another
    shape."""
    try:
        return kind.model_validate(from_json(body))
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        said = "Input should be an object" if first["type"] == "model_type" else first["msg"]
        spot = ".".join(str(part) for part in first["loc"] if not str(part).startswith("~"))
        more = f" (and {len(others)} more)" if others else ""
        raise RequestError(422, f"{spot}: {said}{more}" if spot else said) from None


def from_json(body: bytes) -> Any:
    """JSON as RFC 8259 has it and no two parsers read differently: no NaN, no key twice, no halves
    of characters. Raises RequestError."""
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
