"""A folder of the ICT Face Model (ICT-FaceKit, MIT licence) as a morphable model.

The folder `FaceXModel` has one OBJ mesh per shape, all of one topology: `generic_neutral_mesh`,
`identity000` and on (the mean plus one standard deviation of a mode) and one per expression at
weight 1, under its name. Head, eyes, teeth and so on follow one another in these files; vertices 0
to 9408 are the face with ears and throat. Nothing else of a mesh is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facefactor.geometry.morphable import MorphableModel, MorphableModelError

FACE_VERTICES = 9409
LANDMARKS68 = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088,
    3443, 268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140,
    2075, 1147, 4269, 3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216,
    6207, 6470, 5517, 5966,
)  # fmt: skip
_NEUTRAL = "generic_neutral_mesh"
_IDENTITY = re.compile(r"identity(\d+)", re.IGNORECASE)

Corner = tuple[int, int | None]  # vertex and texture coordinate, counted from 0


def convert_ict_facekit(folder: str | Path) -> MorphableModel:
    """The face of an ICT-FaceKit checkout, or of its `FaceXModel`; expressions sorted by name.

    Polygons are cut into triangles from their first corner. A vertex on a seam of the texture has
    the first of its coordinates, one of no polygon has (0, 0).

    Raises:
        MorphableModelError: no such folder, no neutral mesh, identities or expressions; a number
            left out among the identities; a mesh that is broken or of another topology.
    """
    files = _meshes(Path(folder))
    neutral_file = files.pop(_NEUTRAL)
    neutral, count = _read_vertices(neutral_file)
    identities, expressions = _sorted_modes(neutral_file.parent, files)
    triangles, uv = _read_faces(neutral_file)
    modes = {}
    for file in (*identities, *expressions):
        vertices, length = _read_vertices(file)
        if length != count:
            raise MorphableModelError(
                f"{file}: has {length} vertices, but {neutral_file.name} has {count}; all meshes "
                "of a folder must be of one topology"
            )
        modes[file] = torch.from_numpy((vertices - neutral).astype(np.float32))
    return MorphableModel(
        neutral=torch.from_numpy(neutral.astype(np.float32)),
        identity=torch.stack([modes[file] for file in identities]),
        expression=torch.stack([modes[file] for file in expressions]),
        expression_names=tuple(file.stem for file in expressions),
        triangles=torch.from_numpy(triangles),
        uv=torch.from_numpy(uv),
        landmarks68=torch.tensor(LANDMARKS68),
    )


def _meshes(folder: Path) -> dict[str, Path]:
    """The OBJ files of the folder, or of FaceXModel in it, by name; the neutral one is there."""
    for place in (folder, folder / "FaceXModel"):
        files = {file.stem: file for file in place.glob("*") if file.suffix.lower() == ".obj"}
        if _NEUTRAL in files:
            return files
    raise MorphableModelError(
        f"{folder}: no {_NEUTRAL}.obj in it or in its FaceXModel; name a checkout of ICT-FaceKit"
    )


def _sorted_modes(folder: Path, files: dict[str, Path]) -> tuple[list[Path], list[Path]]:
    """Identities by number and expressions by name."""
    numbered = {}
    for stem in list(files):
        if match := _IDENTITY.fullmatch(stem):
            numbered[int(match[1])] = files.pop(stem)
    if not numbered or not files:
        what = "expression" if numbered else "identity"
        raise MorphableModelError(f"{folder}: no {what} meshes beside {_NEUTRAL}.obj")
    if missing := set(range(max(numbered) + 1)) - numbered.keys():
        raise MorphableModelError(
            f"{folder}: identity {min(missing)} is missing, the last is {max(numbered)}; the "
            "checkout is not whole"
        )
    return [numbered[number] for number in sorted(numbered)], [files[s] for s in sorted(files)]


def _lines(file: Path, *kinds: str) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line of these kinds, the words without the kind."""
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            for number, line in enumerate(text, 1):
                kind, *words = line.split() or [""]
                if kind in kinds:
                    yield number, [kind, *words] if len(kinds) > 1 else words
    except OSError as error:
        raise MorphableModelError(f"{file}: cannot be read ({error.strerror})") from error


def _read_vertices(file: Path) -> tuple[NDArray[np.float64], int]:
    """Positions of the face's vertices (9409, 3), and how many the whole mesh has."""
    words = [words for _, words in _lines(file, "v")]
    if len(words) < FACE_VERTICES:
        raise MorphableModelError(
            f"{file}: has {len(words)} vertices; the face of ICT-FaceKit alone has {FACE_VERTICES}"
        )
    try:
        vertices = np.array([each[:3] for each in words[:FACE_VERTICES]], dtype=np.float64)
    except ValueError as error:
        raise MorphableModelError(f"{file}: a vertex is not three numbers ({error})") from error
    if vertices.shape[1:] != (3,) or not np.isfinite(vertices).all():
        raise MorphableModelError(f"{file}: a vertex is not three finite numbers")
    return vertices, len(words)


def _read_faces(file: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Triangles (T, 3) among the face's vertices, and texture coordinates (9409, 2)."""
    polygons: list[list[Corner]] = []
    coordinates: list[list[float]] = []
    vertices = 0
    for number, (kind, *words) in _lines(file, "v", "vt", "f"):
        try:
            if kind == "v":
                vertices += 1
            elif kind == "vt":
                coordinates.append([float(words[0]), float(words[1])])
            else:
                polygons.append([_corner(w, vertices, len(coordinates)) for w in words])
        except (ValueError, IndexError) as error:
            raise MorphableModelError(
                f"{file}: line {number} is no OBJ ({kind} {' '.join(words)})"
            ) from error
    kept = [p for p in polygons if all(0 <= vertex < FACE_VERTICES for vertex, _ in p)]
    uv = np.zeros((FACE_VERTICES, 2), np.float32)
    for polygon in reversed(kept):  # so that the first mention of a vertex is what stays
        for vertex, coordinate in polygon:
            if coordinate is None or not 0 <= coordinate < len(coordinates):
                raise MorphableModelError(
                    f"{file}: vertex {vertex} has no texture coordinates in one of its polygons; "
                    "export the meshes with them"
                )
            uv[vertex] = coordinates[coordinate]
    fans = [(p[0][0], p[i][0], p[i + 1][0]) for p in kept for i in range(1, len(p) - 1)]
    if not fans:
        raise MorphableModelError(f"{file}: no polygons among vertices 0 to {FACE_VERTICES - 1}")
    return np.array(fans, np.int64), uv


def _corner(word: str, vertices: int, coordinates: int) -> Corner:
    """`3`, `3/7`, `3//2` or `3/7/2`; counted from 1, or from the end so far where negative."""
    vertex, *rest = word.split("/")
    texture = rest[0] if rest else ""
    return _index(vertex, vertices), _index(texture, coordinates) if texture else None


def _index(word: str, count: int) -> int:
    number = int(word)
    if number == 0:
        raise ValueError("OBJ counts from 1")
    return number - 1 if number > 0 else count + number
