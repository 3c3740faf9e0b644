"""The request body of a task's route follows from the task's inputs."""

from __future__ import annotations

import dataclasses

import pytest

from onelayer.data.column_rules import ColumnRules
from onelayer.serving.api.schemas import ask_model, parse_body, values_by_role
from onelayer.serving.request_errors import RequestError
from onelayer.tasks import TASKS, Classify, Regress, Task
from onelayer.tasks.protocol import roles_of_lists


class VerifyColumns(ColumnRules):
    inputs = ("claim", "evidence", "source")
    optional = ("source",)


class Verify(Regress):
    """A task that defines only the roles of its inputs."""

    name = "verify"
    columns = VerifyColumns()
    wire_input = classmethod(Task.wire_input.__func__)


@pytest.mark.parametrize("name", TASKS)
def test_route_takes_the_roles_of_the_task(name: str) -> None:
    kind = TASKS[name]
    roles = {field.name: field for field in dataclasses.fields(kind.wire_input())}

    assert tuple(roles) == kind.columns.inputs
    lacking = [role for role, of in roles.items() if of.default is not dataclasses.MISSING]
    assert tuple(lacking) == kind.columns.optional


def test_only_options_take_a_list_of_texts() -> None:
    assert {name: set(roles_of_lists(kind)) for name, kind in TASKS.items()} == {
        name: {"options"} if name == "choose" else set() for name in TASKS
    }


def test_task_without_wire_types_takes_a_text_for_each_role() -> None:
    taken = parse_body(ask_model(Verify), b'{"inputs": {"claim": "a", "evidence": "b"}}')

    assert values_by_role(Verify, taken.inputs) == {"claim": "a", "evidence": "b"}
    assert ask_model(Verify).__name__ == "VerifyRequest"


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (Verify, b'{"inputs": {"claim": "a"}}', "inputs.evidence: Field required"),
        (Verify, b'{"inputs": {"claim": "a", "evidence": 1}}', "valid string"),
        (Verify, b'{"inputs": "a"}', "Input should be an object"),
        (Verify, b'{"inputs": {"claim": "a", "evidence": "b"}, "coverage": 0.9}', "coverage"),
        (Classify, b'{"inputs": "a", "coverage": 1.0}', "less than 1"),
    ],
)
def test_wrong_input_is_refused_by_its_role(kind: type[Task], body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_body(ask_model(kind), body)


def test_bare_text_is_accepted_if_other_roles_are_optional() -> None:
    taken = parse_body(ask_model(Classify), b'{"inputs": "a text"}')

    assert values_by_role(Classify, taken.inputs) == {"text": "a text"}
