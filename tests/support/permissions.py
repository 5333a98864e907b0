"""Files and folders that are closed to the process, also where the tests run as root."""

import contextlib
import ctypes
import os

import pytest

_VERSION = 0x20080522  # of the structures of capset, as Linux has them
_IGNORES_PERMISSIONS = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def closed(path, mode=0):
    """Give ``path`` this mode, and hold the process to it, until the end of the block."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with _without_privileges():
            yield
    finally:
        path.chmod(before)


@contextlib.contextmanager
def _without_privileges():
    if os.name != "posix":
        pytest.skip("permissions are those of POSIX")
    if os.geteuid():
        yield
        return
    if not hasattr(library := ctypes.CDLL(None), "capset"):
        pytest.skip("root may do everything here")
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 of each
    assert library.capget(header, sets) == 0
    all_of_them = sets[0]
    sets[0] &= ~_IGNORES_PERMISSIONS
    assert library.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = all_of_them
        assert library.capset(header, sets) == 0
