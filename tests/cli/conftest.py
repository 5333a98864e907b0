"""Fixtures of the tests of ``train``; other commands have their own."""

from tests.support.training import call, cub, train  # noqa: F401
