"""Serving the page on this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from typing import Any

from wsolrefine.cli.files import termination_as_interrupt

POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
"""What the browser may load: nothing from other machines. Scripts of gradio are inline."""


@contextlib.contextmanager
def private_gradio() -> Iterator[None]:
    """Keep gradio from other machines and from settings of the environment while the page is used.

    Uploaded photographs are stored in a temporary folder, which is removed at the end.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(
        prefix="wsolrefine-app-", ignore_cleanup_errors=True
    ) as folder:
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            del os.environ[name]
        os.environ |= {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": folder,
        }
        try:
            yield
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ |= before


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
        host: name or number of an address of this machine.
        port: 0 takes a free one.

    Raises:
        OSError: it is not an address of this machine, or the port is taken.

    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would take the port from another program
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def alone(application: Any) -> Any:
    """Return an ASGI application whose pages the browser keeps from other machines.

    Some releases of gradio load a script from elsewhere.
    """

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        await application(scope, receive, send_with_policy)

    return answer


def serve(page: object, socket: socket.socket, url: str, *, browser: bool) -> None:
    """Serve a page until Ctrl-C or SIGTERM.

    Args:
        page: the ``gradio.Blocks``.
        socket: where it listens.
        url: its address.
        browser: whether it is opened in the browser.

    """
    import fastapi
    import gradio as gr
    import uvicorn

    application = gr.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path="/",
        footer_links=[],
        ssr_mode=False,  # it needs node, which a machine may not have
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        max_file_size="256mb",
        theme=gr.themes.Default(
            primary_hue="teal",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
    )
    server = uvicorn.Server(
        uvicorn.Config(alone(application), log_level="warning", timeout_graceful_shutdown=1)
    )
    if browser:
        # The socket listens already: the browser waits until the first request is answered.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    # The server passes a signal on when it has closed; it is how this command ends.
    with termination_as_interrupt(), contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[socket])
