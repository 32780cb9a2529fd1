"""`facefactor serve`: the page and the REST service on one address."""

from __future__ import annotations

import inspect
import ipaddress
import logging
import os
import re
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from facefactor.errors import FaceFactorError
from facefactor.memory import all_is_kept
from facefactor.rest import service
from facefactor.serving.desk import Desk, Limits, Shelf
from facefactor.serving.gate import Gate

logger = logging.getLogger(__name__)

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,200}")  # fits an address, a header and a cookie


class ServerError(FaceFactorError, OSError):
    """The address cannot be served."""


def serve(
    host: str = "127.0.0.1",
    port: int = 7860,
    models: Sequence[str] = (),
    token: str | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        port: 0 takes any free one.
        models: names of packaged weights, or weights files; none: all that come with the package.
        token: what requests must bring; another host than this machine's has one made up if none
            is given, and the log says it.

    Raises:
        ServerError: the address is taken or none of this machine, or the token unusable.
        CheckpointError: no such weights.
    """
    limits = limits or Limits()
    if token is not None and not _TOKEN.fullmatch(token):
        raise ServerError("the token is not usable; take 8 or more letters, digits and . _ ~ -")
    listening = listen(host, port)
    if not is_local(host):
        token = token or secrets.token_urlsafe(24)
        logger.warning(
            "%s: others can reach this machine. Requests need the token; neither it nor photos are "
            "encrypted on their way: put a server with TLS before this one",
            host,
        )
    desk = Desk(limits)
    with _stoppable(), listening, tempfile.TemporaryDirectory(prefix="facefactor-") as folder:
        with all_is_kept():
            app = application(Shelf(models), desk, limits, Path(folder), token)
        logger.info("%s", address(host, listening.getsockname()[1], token))
        try:
            settings = uvicorn.Config(
                app, log_level="warning", timeout_keep_alive=15, timeout_graceful_shutdown=5
            )
            uvicorn.Server(settings).run(sockets=[listening])
        finally:
            desk.close()


@contextmanager
def _stoppable() -> Iterator[None]:
    """An interrupt or a request to end ends the block, and all it holds is put away.

    uvicorn ends its work in order and then raises the signal again, which would end the process.
    """

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def application(
    shelf: Shelf, desk: Desk, limits: Limits, folder: Path, token: str | None = None
) -> FastAPI:
    """The REST service with the page on it.

    Args:
        folder: where the page keeps what is sent and made; whoever calls removes it.
    """
    # gradio reads these when it is imported and whenever it keeps a file
    os.environ |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    with _no_stubs():
        from facefactor.web import mounted

    app = mounted(service(shelf, desk, limits), shelf, desk, limits, folder)
    app.add_middleware(Gate, limits=limits, token=token)  # the last comes first
    return app


@contextmanager
def _no_stubs() -> Iterator[None]:
    """In the block gradio writes no type stubs of its classes.

    Whenever it is imported it reads its own source and writes stubs beside it, which takes longer
    than all the rest of it; it leaves out classes whose file Python cannot tell.
    """
    getfile = inspect.getfile

    def of_others(object: Any) -> str:
        if str(getattr(object, "__module__", "")).startswith("gradio."):
            raise OSError("gradio's own")
        return getfile(object)

    inspect.getfile = of_others
    try:
        yield
    finally:
        inspect.getfile = getfile


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address.

    Raises:
        ServerError: the address is taken, or is none of this machine.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServerError(f"{host}: no address of this machine ({error.strerror})") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
    except OSError as error:
        listening.close()
        raise ServerError(
            f"{host}:{port}: cannot be served ({error.strerror}); choose another --port or --host"
        ) from error
    return listening


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int, token: str | None) -> str:
    """What to open in a browser."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
