"""Errors as problem JSON (RFC 9457)."""

from __future__ import annotations

import json
import logging
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from facefactor.errors import FaceFactorError

logger = logging.getLogger(__name__)

_STATUS = {  # by kind, of errors that are not about what was sent: those are 422
    "too-large": 413,
    "busy": 429,
    "too-slow": 504,
    "unknown-model": 404,
    "checkpoint": 500,
    "instrument": 503,
    "write": 507,
}


def problem(status: int, kind: str, detail: str, **more: Any) -> bytes:
    """An error as JSON; `more` are members beside those of the RFC."""
    told = {
        "type": f"urn:facefactor:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return json.dumps({**told, **more}).encode()


def kind(error: BaseException) -> str:
    """An error's kind: NoFaceError -> "no-face"."""
    name = type(error).__name__.strip("_").removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _problem(status: int, kind: str, detail: str, **more: Any) -> Response:
    headers = {"Retry-After": "1"} if status == 429 else None
    return Response(
        problem(status, kind, detail, **more), status, headers, "application/problem+json"
    )


def answer_problems(app: FastAPI) -> None:
    """Every error of ours, of FastAPI's and of nobody's as problem JSON (RFC 9457)."""

    @app.exception_handler(FaceFactorError)
    async def ours(request: Request, error: FaceFactorError) -> Response:
        name = kind(error)
        fields = getattr(error, "__notes__", [])  # of the request, see `rest.faces_of`
        more = {"field": fields[0]} if fields else {}
        return _problem(_STATUS.get(name, 422), name, str(error), **more)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = [(".".join(map(str, one["loc"][1:])), one["msg"]) for one in error.errors()]
        detail = "; ".join(f"{field}: {message}" for field, message in wrong)
        return _problem(422, "request", detail)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        name = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        return _problem(error.status_code, name, str(error.detail))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        logger.error("%s %s", request.method, request.url.path, exc_info=error)
        return _problem(500, "unforeseen", "an error of the server's; its log says more")
