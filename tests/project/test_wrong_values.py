"""Every argument of every public function refuses every wrong value by its own name.

A new function is covered by listing it in ``tests/support/calls``; a test here fails until it is.
"""

import inspect
import re
from importlib import import_module

import pytest

from tests.support import wrong_values as kinds
from tests.support.calls import CALLS, METHODS, NOT_HERE
from tests.support.calls.call import CAM, Call
from tests.support.wrong_values import WRONG


def parameters(call):
    """The parameters with a name of their own: ``**options`` are those of another function."""
    found = inspect.signature(call.function).parameters
    return {name: p for name, p in found.items() if p.kind is not p.VAR_KEYWORD}


ALL = [*(call for calls in CALLS.values() for call in calls), *METHODS]
ARGUMENTS = [(call, name) for call in ALL for name in call.kinds]


def label(value):
    return value.function.__qualname__ if isinstance(value, Call) else None


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """What is written is written here."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("module", CALLS)
def test_every_public_name_is_listed(module):
    listed = [call.function.__name__ for call in CALLS[module]]
    assert len(listed) == len({*listed})
    assert {*listed} | NOT_HERE.get(module, set()) == {*import_module(module).__all__}


@pytest.mark.parametrize("call", ALL, ids=label)
def test_every_argument_of_it_has_a_kind(call):
    assert {*call.kinds} == {*parameters(call)}
    without_default = {name for name, p in parameters(call).items() if p.default is p.empty}
    assert {*call.arguments} >= without_default
    call.function(**call.arguments)


@pytest.mark.parametrize(("call", "name"), ARGUMENTS, ids=label)
def test_wrong_values_are_refused_by_name(call, name):
    kind, named = call.kinds[name], call.named.get(name, name)
    message = re.compile(rf"({named})(\[[\w\d]+\])*: expected \S.*, got .*", re.DOTALL)
    for wrong, value in WRONG.items():
        if wrong in kind.legal | kind.either:
            continue
        with pytest.raises((TypeError, ValueError)) as error:
            call.function(**{**call.arguments, name: value})
        assert message.fullmatch(str(error.value)), (wrong, str(error.value))
        assert len(str(error.value)) < 700


@pytest.mark.parametrize(("call", "name"), ARGUMENTS, ids=label)
def test_right_values_pass(call, name):
    for value in call.kinds[name].right:
        call.function(**{**call.arguments, name: value})


def test_a_value_that_no_check_catches_is_seen():
    """The test above fails for a function without checks."""

    def unchecked(cam, *, size=2):
        return cam.sum() * size

    for wrong in (unchecked, lambda cam, *, size=2: int("x")):
        call = Call(wrong, {"cam": CAM}, {"cam": kinds.tensor, "size": kinds.number})
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            test_wrong_values_are_refused_by_name(call, "size")
