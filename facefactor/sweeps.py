"""Photos edited step by step, as a sheet or a film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from facefactor.factors import FaceModel
from facefactor.images import Photo, write_image
from facefactor.photo_edits import Change, PhotoFace, edit_all
from facefactor.sheets import around, row
from facefactor.videos import write_gif, write_video

FILM_SUFFIXES = frozenset({".gif", ".mp4"})
_FPS = 8
_HEIGHT = 160  # of a sheet's pictures

ChangeOf = Callable[[PhotoFace], Change]  # the change of one face, which may depend on where it is


def edit_each(
    model: FaceModel, faces: Sequence[PhotoFace], change_of: ChangeOf, raw: bool = False
) -> Photo:
    """`photo_edits.edit_all`, each face by a change of its own."""
    photo = edit_all(model, faces[:1], change_of(faces[0]), raw)
    for face in faces[1:]:
        current = face if raw else replace(face, photo=photo)
        photo = edit_all(model, [current], change_of(current), raw)
    return photo


def write_sweep(
    path: Path,
    model: FaceModel,
    faces: Sequence[PhotoFace],
    steps: Sequence[tuple[str, ChangeOf]],
    raw: bool = False,
) -> None:
    """The photo at each step, under the step's name on a sheet: the largest face, or the network's
    own squares."""
    photos = [edit_each(model, faces, change_of, raw) for _, change_of in steps]

    def sheet() -> Photo:
        shown = photos if raw else [around(photo, faces[0].found.box) for photo in photos]
        return row(shown, [name for name, _ in steps], _HEIGHT)

    write_path(path, photos, sheet)


def write_path(path: Path, photos: Sequence[Photo], sheet: Callable[[], Photo]) -> None:
    """Photos as a film there and back (.gif), a film (.mp4), or their sheet (.png and others)."""
    suffix = path.suffix.lower()
    if suffix == ".gif":
        write_gif(path, [*photos, *photos[-2:0:-1]], fps=_FPS)
    elif suffix == ".mp4":
        write_video(path, photos, fps=_FPS)
    else:
        write_image(path, sheet())
