"""Fixtures of the tests of ``train``, and of signals; other commands have their own."""

import signal

import pytest

from tests.support.browser import browser, visit  # noqa: F401
from tests.support.training import call, cub, train  # noqa: F401


@pytest.fixture
def heard():
    """A Ctrl-C that is heard: shells start what runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
