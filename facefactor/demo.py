"""Sheets that show what the packaged models do, on two public-domain portraits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile

from facefactor import editing
from facefactor.errors import FaceFactorError
from facefactor.face_lighting import light_code, light_from, relit
from facefactor.face_normalising import morph, normalise_faces
from facefactor.face_turning import Angles, turned
from facefactor.factors import FaceModel, Factors
from facefactor.files import atomic_path
from facefactor.images import Photo, write_image
from facefactor.photo_edits import (
    Change,
    PhotoFace,
    edit_face,
    encode_face,
    factor_for,
    read_faces,
)
from facefactor.reconstruction import Reconstruction, reconstruct_face, sheet
from facefactor.sheets import around, resize, row, stack

_HEIGHT = 200
_STRENGTHS = (0.0, 0.5, 1.0, 1.5)
_LIGHTS = ("left", "right", "above")
_YAWS = (-30.0, 30.0)
_STEPS = 3  # drawn on the way to a normalised face
_PORTRAITS = {  # package -> file inside it; both portraits are NASA's or the US Navy's
    "Grace Hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "Eileen Collins": ("skimage", "data/astronaut.png"),
}


def portrait_paths() -> Mapping[str, Path]:
    """Name -> file of the two portraits that come with matplotlib and scikit-image.

    Raises:
        FaceFactorError: a package lacks its file.
    """
    paths = {}
    for name, (package, file) in _PORTRAITS.items():
        spec = find_spec(package)
        folder = Path(spec.origin).parent if spec and spec.origin else None
        if folder is None or not (folder / file).is_file():
            raise FaceFactorError(f"{package} has no {file}; install it again")
        paths[name] = folder / file
    return paths


def read_portraits() -> dict[str, PhotoFace]:
    """Name -> the face in each of the two portraits."""
    return {name: read_faces(path)[0] for name, path in portrait_paths().items()}


def demo_sheet(model: FaceModel, faces: Mapping[str, PhotoFace]) -> Photo:
    """Input, neutral face, the other's expression, a strength sweep and the network's own squares,
    for both portraits."""
    names = list(faces)
    rows = [
        part
        for name, other in zip(names, reversed(names), strict=True)
        for part in _portrait_rows(model, name, faces[name], other, faces[other])
    ]
    return stack(rows)


def _portrait_rows(
    model: FaceModel, name: str, face: PhotoFace, other: str, source: PhotoFace
) -> list[Photo]:
    """Two rows: edits in the photo, and the same in the network's own squares."""
    expression = factor_for(model.spec, "expression")
    taken = encode_face(model, source)

    def swapped(own: Factors) -> Factors:
        return editing.transfer(own, taken, [expression], model.spec)

    sweep = {
        f"strength {strength:g}": partial(
            editing.set_strength, model=model, name=expression, strength=strength
        )
        for strength in _STRENGTHS
    }
    changes: dict[str, Change] = {**sweep, f"{other}'s expression": swapped}
    box = face.found.box
    photos = [around(face.photo, box)]
    squares = [edit_face(model, face, lambda own: own, raw=True)]
    for change in changes.values():
        photos.append(around(edit_face(model, face, change), box))
        squares.append(edit_face(model, face, change, raw=True))
    labels = list(changes)
    return [
        row(photos, [name, *labels], _HEIGHT),
        row([resize(s, _HEIGHT) for s in squares], ["network: redrawn", *labels], _HEIGHT),
    ]


def lights_and_turns(model: FaceModel, name: str, face: PhotoFace) -> Photo:
    """One row: a portrait under other lights, and turned."""
    changes: dict[str, Change] = {
        f"light from {side}": relit(model, light_code(model, light_from(side))) for side in _LIGHTS
    }
    changes |= {f"yaw {yaw:+.0f}": turned(model, face, Angles(yaw_deg=yaw)) for yaw in _YAWS}
    edited = [edit_face(model, face, change) for change in changes.values()]
    photos = [around(photo, face.found.box) for photo in (face.photo, *edited)]
    return row(photos, [name, *changes], _HEIGHT)


def write_portraits(output: Path) -> list[Path]:
    """Copy the portraits into the folder `output`, for commands to be tried on; returns where."""
    copies = []
    for name, portrait in portrait_paths().items():
        copies.append(output / f"{_plain(name)}{portrait.suffix}")
        with atomic_path(copies[-1]) as temporary:
            copyfile(portrait, temporary)
    return copies


def write_demo(
    output: Path, model: FaceModel, faces: Mapping[str, PhotoFace], file: str = "demo.png"
) -> list[Path]:
    """Write the sheet `file` of two faces by name into the folder `output`; returns its path."""
    path = output / file
    write_image(path, demo_sheet(model, faces))
    return [path]


def write_normal_demo(output: Path, model: FaceModel, faces: Mapping[str, PhotoFace]) -> list[Path]:
    """Write `normal.png` into the folder `output`; returns its path.

    A row for each face: the normalised face in the photo, then what the network sees, and the
    squares it draws on the way to the normalised face.
    """
    rows = []
    for name, face in faces.items():
        way = morph(model, [face], _STEPS, raw=True)
        photos = [face.photo, normalise_faces(model, [face])]
        pictures = [around(photo, face.found.box) for photo in photos]
        pictures += [resize(square, _HEIGHT) for _, square in way]
        labels = [name, "normalised", "network's input", *(share for share, _ in way[1:])]
        rows.append(row(pictures, labels, _HEIGHT))
    write_image(output / "normal.png", stack(rows))
    return [output / "normal.png"]


def write_light_demo(output: Path, model: FaceModel, faces: Mapping[str, PhotoFace]) -> list[Path]:
    """Light, pose and shape, of a model that knows them.

    Returns:
        `light.png` and a mesh of each face, in the folder `output`.
    """
    rows: list[Photo] = []
    meshes: dict[Path, Reconstruction] = {}
    for name, face in faces.items():
        found = reconstruct_face(model, face)
        rows += [lights_and_turns(model, name, face), sheet(found)]
        meshes[output / f"{_plain(name)}.glb"] = found
    write_image(output / "light.png", stack(rows))
    for path, found in meshes.items():
        found.write(path)
    return [output / "light.png", *meshes]


def _plain(name: str) -> str:
    """As files are called."""
    return name.lower().replace(" ", "-")
