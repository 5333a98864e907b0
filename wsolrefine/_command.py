"""The first lines of the ``wsolrefine`` command: nothing is imported from the working folder.

``python -m`` puts the working folder in front of the search path, and so does a script that lies in
it. A file there would be run instead of the library of that name, or for an optional library that
is not installed. So this module is imported before all others, and itself imports only what Python
has loaded already: that leaves out ``__future__``.
"""

import errno
import os
import sys

NAMES = ("wsolrefine", "wsolrefine.exe", "wsolrefine.__main__", "-mwsolrefine")


def is_command() -> bool:
    """Tell whether this process is the command: its script, or ``python -m wsolrefine``."""
    if not sys.argv:
        return False
    if sys.argv[0] == "-m":  # the module is being found, its name is not in sys.argv yet
        return sys.orig_argv[-len(sys.argv)] in NAMES
    return os.path.basename(sys.argv[0]) in NAMES  # noqa: PTH119 - pathlib is not loaded


def forget_working_folder() -> None:
    """Remove what leads to the working folder from the search path, in this process and its own.

    That is what Python has put in front, and an empty or ``.`` entry of PYTHONPATH. A full path
    there, or an installed project, stays, also if it happens to be the working folder.
    """
    try:
        here = os.path.realpath(os.curdir)
    except OSError as error:
        raise SystemExit(f"Error: the working folder cannot be used ({error.strerror})") from None
    if not sys.flags.safe_path:
        first = os.path.realpath(sys.path[0])
        if sys.argv[0] == "-m" or first == here:
            del sys.path[0]
    variable = "" if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "")
    if variable and not {"", ".", "./"}.isdisjoint(variable.split(os.pathsep)):
        sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]
    os.environ["PYTHONSAFEPATH"] = "1"


def open_streams() -> None:
    """Lead standard streams that are closed, or not open for writing, to the null device.

    Else the next file that is opened gets their number, and what a library prints goes into it. A
    shell script that is started with a closed stream may be such a file itself.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.write(number, b"") if number else os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                continue
            null = os.open(os.devnull, os.O_RDWR)
            if null == number:
                os.set_inheritable(number, True)
            else:
                os.dup2(null, number)
                os.close(null)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def stop_at_once(*_: object) -> None:
    """End the process on Ctrl-C: while it starts and ends there is nothing to lose."""
    os.write(2, b"Error: stopped\n")
    os._exit(130)


if is_command():
    open_streams()
    forget_working_folder()
    import signal

    signal.signal(signal.SIGINT, stop_at_once)
