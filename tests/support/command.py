"""The ``wsolrefine`` command in the process of the tests."""

from typer.testing import CliRunner

from wsolrefine.cli import app


def run_command(*arguments, code=0):
    """Run a command of ``wsolrefine``; return what it printed. Other errors than its own raise."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output
