"""The Photoface database (Zafeiriou et al., CVPR workshops 2011): 453 people, four lights each.

Folders and names as the release's own notes and programs that read it have them:

    PhotofaceDB/1001/2008-02-23_12-21-31/im0.bmp ... im3.bmp, LightSource.m, metadata.txt
    PhotofaceDB/subject/session/

A session is one passage of a person: four photos within milliseconds, each by another light. Its
normals do not come along: `generateSNAndZ`, a Matlab function of the release, computes them by
photometric stereo and leaves `sn.mat` (with px and py), `z.mat` and `albedo.mat` in each session.
No copy of the release was at hand when this was written: its reading is tested on made files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facefactor.data.listing import existing_folder, image_size, is_photo
from facefactor.data.records import DataError, FaceRecord

LIGHTS = 4

_PHOTO = re.compile(r"im(?P<light>[0-3])\.bmp", re.IGNORECASE)
_SESSION = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")
_BULGE = 0.1  # correlation of a normal with its place; of a face some 0.7


class PhotofaceName(NamedTuple):
    """What the path of a photo says."""

    subject: str  # "1001"
    session: str  # "2008-02-23_12-21-31", when it was taken
    light: int  # 0 to 3
    normals: Path  # the session's `sn.mat`, for `read_photoface_normals`; need not be there


def photoface_name(path: Path) -> PhotofaceName:
    """Read a path like 1001/2008-02-23_12-21-31/im0.bmp; DataError for any other."""
    photo, session = _PHOTO.fullmatch(path.name), path.parent.name
    if photo is None or _SESSION.fullmatch(session) is None:
        raise DataError(
            f"{path}: expected a photo like 1001/2008-02-23_12-21-31/im0.bmp (subject, session, "
            "im0 to im3)"
        )
    return PhotofaceName(
        path.parent.parent.name, session, int(photo["light"]), path.with_name("sn.mat")
    )


def read_photoface(folder: Path | str) -> list[FaceRecord]:
    """Photoface as released: four photos of each session; `folder` is `PhotofaceDB` or holds it.

    A subject is the name of its folder. Nothing is known of expressions: the release calls them
    blank, positive, negative or other. The light, and where the normals are, is in a record's path:
    `photoface_name`. Faces are found by the detector.

    Raises:
        DataError: not the layout, or a session without its four photos.
    """
    top = existing_folder(folder)
    home = top / "PhotofaceDB" if (top / "PhotofaceDB").is_dir() else top
    sessions = sorted(
        path for path in home.glob("*/*") if path.is_dir() and _SESSION.fullmatch(path.name)
    )
    if not sessions:
        raise DataError(
            f"{home}: no sessions like 1001/2008-02-23_12-21-31 in it; is this the folder "
            "PhotofaceDB?"
        )
    return [
        FaceRecord(path, session.parent.name) for session in sessions for path in _photos(session)
    ]


def read_photoface_normals(path: Path | str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The true normals under a photo of a session.

    `sn.mat` has the surface's slopes px, py; a normal is (px, py, 1) / |(px, py, 1)| but for the
    signs, which depend on where the release's axes point. They are told by the face itself: it
    bulges, so normals lean outwards, to the right on the right and downwards below.

    Args:
        path: of one of the four photos, which have the same normals.

    Returns:
        (H, W, 3) of length 1, x to the image's right, y up, z to the camera, and (H, W): where they
        are known. 0 where not.

    Raises:
        DataError: no `sn.mat`, not one of Matlab (up to version 7) with px and py of the photo's
            size, or slopes that do not bulge.
    """
    photo = Path(path)
    file = photoface_name(photo).normals
    width, height = image_size(photo)
    px, py = _slopes(file, (height, width))
    known: NDArray[np.bool_] = np.isfinite(px) & np.isfinite(py)
    rows = np.arange(height)[:, None] + np.zeros_like(px)
    columns = np.arange(width) + np.zeros_like(px)
    to_right, down = _outwards(px, columns, known, file), _outwards(py, rows, known, file)
    normals = np.stack([to_right, -down, np.ones_like(px)], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return np.where(known[..., None], normals, 0).astype(np.float32), known


def _photos(session: Path) -> list[Path]:
    """im0 to im3 of a session."""
    photos = sorted(path for path in session.iterdir() if is_photo(path.name))
    found = [path for path in photos if _PHOTO.fullmatch(path.name)]
    if len(found) != LIGHTS:
        seen = ", ".join(path.name for path in photos) or "none"
        raise DataError(
            f"{session}: expected the photos im0.bmp to im3.bmp, found {seen}; unpack it again"
        )
    return found


def _slopes(file: Path, shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from scipy.io import loadmat  # slow to import, and needed here only

    if not file.is_file():
        raise DataError(
            f"{file} does not exist; run the release's own generateSNAndZ on its PhotofaceDB in "
            "Matlab, which writes one into each session"
        )
    try:
        arrays = loadmat(file, variable_names=["px", "py"])
    except Exception as error:  # its reader raises nearly anything on damaged files
        raise DataError(
            f"{file}: not a .mat file of Matlab up to version 7 ({error}); save it with -v7"
        ) from error
    found = []
    for name in ("px", "py"):
        array = arrays.get(name)
        if array is None or array.dtype.kind not in "fiu" or array.shape != shape:
            seen = "none" if array is None else f"{array.shape} of {array.dtype}"
            raise DataError(f"{file}: expected numbers {name} of {shape}, found {seen}")
        found.append(array.astype(np.float64))
    return found[0], found[1]


def _outwards(
    slope: NDArray[np.float64], place: NDArray[np.float64], known: NDArray[np.bool_], file: Path
) -> NDArray[np.float64]:
    """The slope with the sign by which it grows with its place; 0 where it is not known."""
    filled = np.where(known, slope, 0)
    clipped = np.clip(filled[known], -3, 3)  # a rim of some pixels must not decide
    lean = 0.0
    if clipped.size and clipped.std() > 0:
        lean = float(np.corrcoef(clipped, place[known])[0, 1])
    if not abs(lean) >= _BULGE:
        raise DataError(
            f"{file}: its slopes do not bulge as a face's do (correlation with their place "
            f"{lean:.2f}); compute it again"
        )
    return filled * np.sign(lean)
