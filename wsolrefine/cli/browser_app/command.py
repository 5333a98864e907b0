"""``wsolrefine app``: a page in the browser for one photograph after the other."""

from __future__ import annotations

import errno
import ipaddress
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console

from wsolrefine.cli.console import error_console, stop
from wsolrefine.cli.options import Device
from wsolrefine.models import DEFAULT_CLASSIFIER


def app(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Classifier: efficientnet-lite0 (default), timm:NAME, torchvision:NAME or "
            "package.module:callable; repeat for several to choose from.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address of this machine to serve the page at. Others than the default may be "
            "reached by other machines, whose users need no password.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to serve the page at; 0 takes a free one.")
    ] = 7860,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the address of the page and nothing else.")
    ] = False,
) -> None:
    """Try photographs on a page in the browser, which shows the Python code too.

    Drop a photograph, choose model, class, method, layers and threshold, and see
    the CAM, the refined map, the mask and the box side by side. The code box has
    the Python code that finds the same box. The page needs no network, and only
    this machine reaches it. Ctrl-C ends it.

    [bold]Example[/bold]

        wsolrefine app --model efficientnet-lite0 --port 8000
    """
    require_app()
    from wsolrefine.cli.browser_app.server import listening, private_gradio, serve
    from wsolrefine.cli.images import quiet as without_warnings
    from wsolrefine.cli.loading import choose_device, load_model

    target = choose_device(device)
    names = dict.fromkeys(model or [DEFAULT_CLASSIFIER])
    classifiers = {name: load_model(name) for name in names}
    try:
        made = listening(host, port)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            stop(f"--port: expected a free port, or 0 for any, got {port} ({reason})")
        stop(f"--host: expected an address of this machine, got {host} ({reason})")
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{made.getsockname()[1]}"
    with made, private_gradio():
        from wsolrefine.cli.browser_app.finding import Finder
        from wsolrefine.cli.browser_app.page import build_page

        page = build_page(Finder(classifiers, target))
        console = Console(highlight=False, soft_wrap=True)
        console.print(url if quiet else f"{url} (Ctrl-C ends it)", markup=False)
        if not quiet and not is_local(made.getsockname()[0]):
            error_console().print("Note: other machines can use the page, without a password")
        with without_warnings():
            serve(page, made, url, browser=browser)


def is_local(address: str) -> bool:
    """Tell whether only this machine reaches an address.

    Example:
        >>> is_local("127.0.0.1"), is_local("::1"), is_local("0.0.0.0")
        (True, True, False)

    """
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def require_app() -> None:
    """Stop if a package of the extra ``app`` is missing."""
    for name in ("gradio", "uvicorn", "fastapi"):
        if find_spec(name) is None:
            stop(f"app needs the package {name}: pip install 'wsolrefine[app]'", 1)
