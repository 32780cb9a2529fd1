"""A gradio page on a FastAPI application, with no more of gradio's routes than the page needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from facefactor.serving.desk import Limits
from facefactor.serving.gate import App, Message, Receive, Send, send_problem

# The others fetch addresses, record, edit the page or tell of the machine.
_SERVED = re.compile(
    r"/(?:config|theme\.css|favicon\.ico|manifest\.json|(?:assets|static|svelte)/.+|"
    r"gradio_api/(?:queue/(?:join|data)|run/predict|heartbeat/\w+|upload|upload_progress|startup-events|"
    r"cancel|reset|file=.+))?/?"
)
_FILE = "/gradio_api/file="
_FONTS = ["system-ui", "sans-serif"]  # the default theme's come from another host


def mount(app: FastAPI, blocks: gr.Blocks, limits: Limits, folder: Path, css: str) -> FastAPI:
    """The page at `/` of an application whose own routes go first.

    Args:
        folder: gradio's temporary folder; no file outside it is read or served.
    """
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        allowed_paths=[],
        max_file_size=limits.clip_bytes,
        show_error=True,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Soft(font=_FONTS, font_mono=["ui-monospace", "monospace"]),
        css=css,
    )
    # Only `launch` sets this; until then gradio takes any file of the server as an upload.
    blocks.has_launched = True
    ours = {getattr(route, "path", "") for route in app.routes} - {"", "/"}
    app.add_middleware(OwnFiles, folder=folder, ours=frozenset(ours))
    return app


class OwnFiles:
    """ASGI middleware: gradio's routes as far as the page needs them, for files of its own folder.

    A request names uploads by their paths; gradio would also fetch a path that is an address.
    """

    def __init__(self, app: App, folder: Path, ours: frozenset[str]) -> None:
        """Args:
        ours: paths that are not gradio's.
        """
        self.app, self.folder, self.ours = app, folder.resolve(), ours

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path in self.ours:
            await self.app(scope, receive, send)
            return
        if not _SERVED.fullmatch(path):
            await send_problem(send, 404, "not-found", f"there is no {path}")
            return
        if path.startswith(_FILE) and not self._own(path.removeprefix(_FILE)):
            await send_problem(send, 403, "file", "this file is not served")
            return
        if scope["method"] == "POST" and not path.startswith("/gradio_api/upload"):
            try:
                body = await _whole(receive)
            except HTTPException as error:  # the gate's: too large, or not there in time
                await send_problem(send, error.status_code, "request", error.detail)
                return
            if not self._names_own_files(body):
                await send_problem(send, 403, "file", "the request names a file that was not sent")
                return
            receive = _again(body, receive)
        await self.app(scope, receive, send)

    def _own(self, name: str) -> bool:
        try:
            return Path(name).resolve().is_relative_to(self.folder)
        except (ValueError, OSError):  # a null byte, a name too long
            return False

    def _names_own_files(self, body: bytes) -> bool:
        try:
            told = json.loads(body or b"null")
        except (ValueError, RecursionError):
            return False
        return all(isinstance(path, str) and self._own(path) for path in _paths(told))


def _paths(told: Any) -> Iterator[Any]:
    """Every value called "path" in JSON, however deep."""
    waiting = [told]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from (value for name, value in one.items() if name == "path" and value)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read once more; then what `receive` has."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again
