"""The ``wsolrefine`` command in the process of the tests."""

import functools
from unittest.mock import patch

from typer import testing

from wsolrefine.cli import app

# Typer builds all commands anew in every call, which takes longer than most calls in tests.
_built = functools.cache(testing._get_command)


def invoke(*arguments):
    """Run a command of ``wsolrefine``; return Typer's result: exit code, output, exception."""
    with patch.object(testing, "_get_command", _built):
        return testing.CliRunner().invoke(app, [*map(str, arguments)])


def run_command(*arguments, code=0):
    """Run a command of ``wsolrefine``; return what it printed. Other errors than its own raise."""
    result = invoke(*arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output
