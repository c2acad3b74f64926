"""The server of the explorer: one page at an address of 127.0.0.1 that nobody can guess, and its downloads."""

from __future__ import annotations

import errno
import logging
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from figures.explorer.state import View

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.server.server import Server

HOST = "127.0.0.1"
"""The one address that is listened to."""
KINDS = {"png": "image/png", "svg": "image/svg+xml", "npz": "application/octet-stream"}
"""Downloads by suffix, with their media types."""


def view_of(given: dict[str, list[str]]) -> tuple[View, str]:
    """View of an address, and a sentence for its visitor: the default view where the address is not understood.

    >>> view_of({"lambda_s": ["-1"]})[0] == View()
    True
    """
    try:
        return View.from_words(given), ""
    except ValueError as error:
        return View(), f"This address has no view, so the default one is shown: {error}."


class Explorer:
    """A server that is listening but not yet running.

    Parameters
    ----------
    view
        What an address without a query string shows.
    port
        Port to listen to; 0 for any that is free.

    Raises
    ------
    ValueError
        The port is out of range or taken.
    """

    def __init__(self, view: View, port: int = 0) -> None:
        from bokeh.application import Application
        from bokeh.application.handlers.function import FunctionHandler
        from bokeh.server.server import Server

        if not 0 <= port <= 65535:
            raise ValueError(f"`port` must be from 0 to 65535, got {port}")
        port = _free_port(port)
        # a tab that is closed while something is drawn is nothing to be warned of
        logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)
        self.view = view
        self.token = secrets.token_urlsafe(16)
        self._threads = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        base = f"/{self.token}"
        self.server: Server = Server(
            {base: Application(FunctionHandler(self._open))},
            port=port,
            address=HOST,
            allow_websocket_origin=[f"{HOST}:{port}"],
            extra_patterns=[(rf"{base}/export\.({'|'.join(KINDS)})", _export_handler(), {"view": view})],
        )

    @property
    def address(self) -> str:
        """Where the page is."""
        query = self.view.query()
        return f"http://{HOST}:{self.server.port}/{self.token}" + (f"?{query}" if query else "")

    def _open(self, document: Document) -> None:
        from figures.explorer.page import Page, Workers

        context = document.session_context
        given = {} if context is None else context.request.arguments
        words = {name: [value.decode() for value in values] for name, values in given.items()}
        view, message = view_of(
            {name: values for name, values in words.items() if not name.startswith("bokeh-")}
        )
        Page(
            document,
            view,
            message,
            f"/{self.token}/export",
            Workers(*self._threads, self.server.io_loop.add_callback),
        )

    def serve(self) -> None:
        """Serve until interrupted."""
        self.server.start()
        try:
            self.server.io_loop.start()
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening, and drop what was still to be computed."""
        for threads in self._threads:
            threads.shutdown(wait=False, cancel_futures=True)
        self.server.stop(wait=False)


def _free_port(port: int) -> int:
    """Return a port that can be listened to: this one, or for 0 any that is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "that is free" if error.errno == errno.EADDRINUSE else "that this user may listen to"
            raise ValueError(f"`port` must be one {why} (0 picks one), got {port}") from None


def download(view: View, kind: str) -> bytes:
    """Bytes of a view as .png, .svg or .npz, as `dyn figure` writes them.

    >>> download(View(), "png")[1:4]
    b'PNG'
    """
    from dynamics.files import write_npz
    from figures.explorer.picture import arrays_of_view, caption_view, figure_view, whole
    from figures.style import look, save

    frame = whole(view)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"explore.{kind}"
        if kind == "npz":
            write_npz(path, arrays_of_view(frame))
        else:
            with look(theme=view.theme):
                save(figure_view(frame), path, caption=caption_view(frame))
        return path.read_bytes()


def _export_handler() -> type:
    from tornado.web import RequestHandler

    class Export(RequestHandler):
        """Answers a download link."""

        def initialize(self, view: View) -> None:
            pass

        def get(self, kind: str) -> None:
            given = {
                name: [value.decode() for value in values] for name, values in self.request.arguments.items()
            }
            try:
                view = View.from_words(given)
            except ValueError as error:
                self.set_status(400)
                self.set_header("Content-Type", "text/plain; charset=utf-8")
                self.finish(f"This address has no view: {error}\n")
                return
            self.set_header("Content-Type", KINDS[kind])
            self.set_header("Content-Disposition", f'attachment; filename="explore.{kind}"')
            self.finish(download(view, kind))

    return Export
