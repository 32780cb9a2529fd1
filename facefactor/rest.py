"""The REST service: the verbs of `facefactor.api` as typed routes, photos as multipart."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Form, Response, UploadFile
from PIL import Image

import facefactor
from facefactor import api
from facefactor.errors import FaceFactorError
from facefactor.serving.answers import (
    Codes,
    Encoded,
    Expressed,
    Health,
    Served,
    Verified,
    Version,
    box_of,
    expression_of,
    served,
)
from facefactor.serving.desk import Desk, Limits, Shelf, TooLargeError, face_codes, read_faces
from facefactor.serving.problems import answer_problems

Which = Annotated[str, Form(description="largest, all, or a number from 0, the largest")]
Named = Annotated[str, Form(description="a model, as /v1/models has them")]
Raw = Annotated[bool, Form(description="the network's own square, not put back")]
Strength = Annotated[float, Form(ge=-5, le=5, description="0 keeps, 1 takes, above exaggerates")]
MeshKind = Literal["glb", "ply", "npz", "png"]

_TYPES = {
    "glb": "model/gltf-binary",
    "ply": "application/octet-stream",
    "npz": "application/octet-stream",
    "png": "image/png",
}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "the edited photo"}
}


def service(shelf: Shelf, desk: Desk, limits: Limits) -> FastAPI:
    """The application: its routes, and errors as problem JSON. It belongs behind a `Gate`."""
    app = FastAPI(
        title="facefactor",
        version=facefactor.__version__,
        description="Take a face photo apart into factors, change any of them, put it back.",
        docs_url=None,  # their scripts come from elsewhere; /openapi.json says the same
        redoc_url=None,
    )
    answer_problems(app)
    _add_readings(app, shelf, desk, limits)
    _add_edits(app, shelf, desk, limits)
    return app


def _add_readings(app: FastAPI, shelf: Shelf, desk: Desk, limits: Limits) -> None:
    """Routes that tell something."""

    @app.get("/health")
    async def health() -> Health:
        return Health(status="ok", running_or_waiting=desk.taken)

    @app.get("/version")
    async def version() -> Version:
        return Version(facefactor=facefactor.__version__)

    @app.get("/v1/models")
    async def models() -> list[Served]:
        """The models, what they separate and what else they can do."""
        return await desk.run(lambda: [served(shelf, name) for name in shelf.names])

    @app.post("/v1/encode")
    async def encode(photo: UploadFile, model: Named = "facecycle", face: Which = "all") -> Encoded:
        """Codes of every factor of every face."""
        data = await sent(photo, limits)

        def work() -> Encoded:
            network, faces = shelf[model], faces_of(data, "photo", limits, face)
            told = [Codes(box=box_of(one), codes=face_codes(network, one)) for one in faces]
            return Encoded(model=model, faces=told)

        return await desk.run(work)

    @app.post("/v1/express")
    async def express(photo: UploadFile, model: Named = "ipdfer", face: Which = "all") -> Expressed:
        """Expression and head pose of every face."""
        data = await sent(photo, limits)

        def work() -> Expressed:
            network, faces = shelf[model], faces_of(data, "photo", limits, face)
            return Expressed(model=model, faces=[expression_of(network, one) for one in faces])

        return await desk.run(work)

    @app.post("/v1/verify")
    async def verify(
        first: UploadFile,
        second: UploadFile,
        first_face: Which = "largest",
        second_face: Which = "largest",
    ) -> Verified:
        """Do two photos show one person?"""
        left, right = await sent(first, limits), await sent(second, limits)

        def work() -> Verified:
            faces = [
                one_face(left, "first", limits, first_face),
                one_face(right, "second", limits, second_face),
            ]
            return Verified.model_validate(api.verify_faces(*faces).to_dict())

        return await desk.run(work)


def _add_edits(app: FastAPI, shelf: Shelf, desk: Desk, limits: Limits) -> None:
    """Routes that draw something."""

    @app.post("/v1/neutral", response_class=Response, responses=_PICTURE)
    async def neutral(
        photo: UploadFile,
        model: Named = "leed",
        face: Which = "largest",
        raw: Raw = False,
    ) -> Response:
        """The face without its expression."""
        data = await sent(photo, limits)
        return await desk.run(
            lambda: png(api.neutral_face(shelf[model], one_face(data, "photo", limits, face), raw))
        )

    @app.post("/v1/transfer", response_class=Response, responses=_PICTURE)
    async def transfer(
        target: UploadFile,
        source: UploadFile,
        factor: Annotated[list[str], Form(description="factors to take")] = ["expression"],  # noqa: B006
        strength: Strength = 1.0,
        model: Named = "leed",
        face: Which = "largest",
        raw: Raw = False,
    ) -> Response:
        """The face of `target` with factors of the largest face of `source`."""
        own, other = await sent(target, limits), await sent(source, limits)
        names: list[Any] = [name.strip() for each in factor for name in each.split(",")]

        def work() -> Response:
            faces = one_face(own, "target", limits, face), one_face(other, "source", limits)
            return png(api.transfer_face(shelf[model], *faces, names, strength, raw))

        return await desk.run(work)

    @app.post("/v1/relight", response_class=Response, responses=_PICTURE)
    async def relight(
        photo: UploadFile,
        source: UploadFile | None = None,
        light_from: Annotated[
            str | None, Form(description="front, left, right, above, below")
        ] = None,
        azimuth: Annotated[float | None, Form(ge=-180, le=180)] = None,
        elevation: Annotated[float | None, Form(ge=-90, le=90)] = None,
        ambient: Annotated[float, Form(ge=0, le=10)] = 0.3,
        strength: Strength = 1.0,
        model: Named = "neurotensorial",
        face: Which = "largest",
        raw: Raw = False,
    ) -> Response:
        """Another light: that of the photo `source`, from a named direction, or from angles."""
        angles = azimuth is not None or elevation is not None
        if (source is not None) + (light_from is not None) + angles != 1:
            raise _Unclear("say where the light is from: source, light_from, or angles")
        own, other = await sent(photo, limits), await sent(source, limits) if source else None

        def work() -> Response:
            light: api.PhotoFace | api.Light
            if other is not None:
                light = one_face(other, "source", limits)
            elif light_from is not None:
                light = api.light_from(light_from, ambient)
            else:
                light = api.Light(azimuth or 0.0, elevation or 0.0, ambient)
            target = one_face(own, "photo", limits, face)
            return png(api.relight_face(shelf[model], target, light, strength, raw))

        return await desk.run(work)

    @app.post("/v1/pose", response_class=Response, responses=_PICTURE)
    async def pose(
        photo: UploadFile,
        source: UploadFile | None = None,
        yaw: Annotated[float | None, Form(ge=-90, le=90)] = None,
        pitch: Annotated[float | None, Form(ge=-90, le=90)] = None,
        roll: Annotated[float | None, Form(ge=-180, le=180)] = None,
        model: Named = "neurotensorial",
        face: Which = "largest",
        raw: Raw = False,
    ) -> Response:
        """The head turned to angles (one not given stays), or as in the photo `source`."""
        if (source is None) == (yaw is None and pitch is None and roll is None):
            raise _Unclear("say how to turn: source, or yaw, pitch, roll")
        own, other = await sent(photo, limits), await sent(source, limits) if source else None

        def work() -> Response:
            goal = (
                api.Angles(yaw, pitch, roll) if other is None else one_face(other, "source", limits)
            )
            target = one_face(own, "photo", limits, face)
            return png(api.pose_face(shelf[model], target, goal, raw))

        return await desk.run(work)

    @app.post("/v1/reconstruct", response_class=Response)
    async def reconstruct(
        photo: UploadFile,
        kind: Annotated[MeshKind, Form(description="a mesh, numbers, or pictures")] = "glb",
        texture: Annotated[Literal["photo", "albedo"], Form()] = "photo",
        model: Named = "neurotensorial",
        face: Which = "largest",
    ) -> Response:
        """The face in three dimensions."""
        data = await sent(photo, limits)

        def work() -> Response:
            target = one_face(data, "photo", limits, face)
            found = api.reconstruct_face(shelf[model], target, texture=texture)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"face.{kind}"
                found.write(path)
                return Response(path.read_bytes(), media_type=_TYPES[kind])

        return await desk.run(work)


async def sent(file: UploadFile, limits: Limits) -> bytes:
    """The bytes of a photo that was sent, no more than the limits allow."""
    data = await file.read(limits.photo_bytes + 1)
    if len(data) > limits.photo_bytes:
        raise TooLargeError(f"a photo has more than {limits.photo_bytes / 1e6:g} MB, the limit")
    return data


def faces_of(data: bytes, field: str, limits: Limits, which: str) -> list[api.PhotoFace]:
    """The faces asked for of the photo in a field of the request; errors name it."""
    try:
        return read_faces(data, field, limits, which)
    except FaceFactorError as error:
        error.add_note(field)
        raise


def one_face(data: bytes, field: str, limits: Limits, which: str = "largest") -> api.PhotoFace:
    if which == "all":
        raise _Unclear(f"{field}: one face is needed; say largest or a number")
    return faces_of(data, field, limits, which)[0]


def png(photo: api.Photo) -> Response:
    """A picture as an answer."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", compress_level=3)  # 6 takes twice the time
    return Response(buffer.getvalue(), media_type="image/png")


class _Unclear(FaceFactorError, ValueError):
    """What was asked for contradicts itself, or is not enough."""
