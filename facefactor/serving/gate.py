"""What a request must be before anything looks at it: from here, with the token, not too large."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException

from facefactor.serving.desk import Limits
from facefactor.serving.problems import problem

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
COOKIE = "facefactor_token"
_BESIDE_PHOTOS = 100_000  # bytes of a request that are no photo
_PHOTOS = 2  # the most that one request sends


class Gate:
    """ASGI middleware that answers, as problem JSON, what must not pass.

    A page elsewhere that a user has open can send requests to 127.0.0.1; its `Origin` gives it
    away, or, if it has a name of its own point here, its `Host`.
    """

    def __init__(self, app: App, limits: Limits, token: str | None = None) -> None:
        """Args:
        token: what requests must bring, as `Authorization: Bearer TOKEN` or in the cookie that
            `/?token=TOKEN` sets; None: only requests to this machine by its local names pass.
        """
        self.app, self.limits, self.token = app, limits, token

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks over websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await send_problem(send, *refusal)
            return
        if self._brings_token_in_address(scope):
            await self._to_page(scope, send)
            return
        body = _Body(receive, self._most(scope["path"]), self.limits.sending_seconds)
        await self.app(scope, body.receive, send)

    def _refusal(
        self, scope: MutableMapping[str, Any], headers: dict[str, str]
    ) -> tuple[int, str, str] | None:
        """Status, kind and detail of why a request must not pass."""
        host = headers.get("host", "")
        if self.token is None and _hostname(host) not in LOCAL_HOSTS:
            return 421, "host", f"{host!r} is not served; ask for 127.0.0.1 or localhost"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "origin", f"a page of {origin} may not ask"
        if scope["path"] != "/health" and not self._knows_token(scope, headers):
            return (
                401,
                "token",
                "send the token: Authorization: Bearer TOKEN, or open /?token=TOKEN",
            )
        most = self._most(scope["path"])
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            return 400, "length", f"Content-Length is {length!r}"
        return _too_large(most) if int(length) > most else None

    def _knows_token(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> bool:
        if self.token is None:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        cookies = [one.strip().partition("=") for one in headers.get("cookie", "").split(";")]
        offered = [value for name, _, value in cookies if name == COOKIE]
        offered += [bearer.strip()] if scheme.lower() == "bearer" else []
        return any(self._is_token(one) for one in offered) or self._brings_token_in_address(scope)

    def _brings_token_in_address(self, scope: MutableMapping[str, Any]) -> bool:
        if self.token is None or (scope["method"], scope["path"]) != ("GET", "/"):
            return False
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        return any(self._is_token(one) for one in given)

    def _is_token(self, offered: str) -> bool:
        return self.token is not None and secrets.compare_digest(
            offered.encode("utf-8", "replace"), self.token.encode()
        )

    async def _to_page(self, scope: MutableMapping[str, Any], send: Send) -> None:
        """The page again, without the token in its address, where others could read it."""
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/{secure}"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _most(self, path: str) -> int:
        """Bytes that a request to `path` may have."""
        photos = _PHOTOS * self.limits.photo_bytes
        files = max(photos, self.limits.clip_bytes) if path.endswith("/upload") else photos
        return files + _BESIDE_PHOTOS


def _hostname(host: str) -> str | None:
    """Of a `Host` header; None where it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class _Body:
    """A request's body, as far as its size and the time it takes to come are within limits."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self._most, self._seconds = receive, most, seconds
        self._end = time.monotonic() + seconds
        self._read, self._whole = 0, False

    async def receive(self) -> Message:
        if self._whole:  # what comes now is the end of the connection, whenever it comes
            return await self._receive()
        try:
            left = self._end - time.monotonic()
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            detail = f"the request did not arrive whole in {self._seconds:g} seconds"
            raise HTTPException(408, detail) from None
        self._read += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._read > self._most:
            raise HTTPException(413, _too_large(self._most)[2])
        return message


def _too_large(most: int) -> tuple[int, str, str]:
    return 413, "too-large", f"the request has more than {most / 1e6:.1f} MB"


async def send_problem(send: Send, status: int, kind: str, detail: str) -> None:
    body = problem(status, kind, detail)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # the rest of the request is not read
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
