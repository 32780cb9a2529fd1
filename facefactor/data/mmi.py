"""MMI (Pantic et al., ICME 2005): films of people who make a face on request, from and to neutral.

A session of the release is a folder with one film and what is known of it. The release was not at
hand when this was written: the layout is as public scripts that read it agree on.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from facefactor.data.listing import existing_folder
from facefactor.data.records import DataError, FaceRecord
from facefactor.videos import film_shape

# Numbered from 1; higher numbers (scream, boredom, sleepiness) are none of the basic expressions.
_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
_FRONTAL = "0"  # views: 1 is a profile, 2 both at once by a mirror
_UPRIGHT_LINES = 480  # the taller frontal films (PAL) were taken with the camera on its side
_MIDDLE = 3  # frames of a film, as the field counts them (NFGAN, Sec. 5.1)

_FILM = re.compile(r"(?P<subject>S\d{3})-\d{3}")


def read_mmi(folder: Path | str) -> list[FaceRecord]:
    """MMI as released: `Sessions/1767/` with `S028-001.avi`, `S028-001.xml`, `session.xml`.

    Of each film in frontal view that is labelled with one of the six basic expressions, the three
    frames in the middle, where the expression is at its height. Others are left out: profiles,
    films coded for action units only (`S001-001-oao_aucs.xml`), sessions of still photos. Faces are
    found by the detector. `folder` is `Sessions` or the folder above it.
    """
    top = existing_folder(folder)
    sessions = top / "Sessions" if (top / "Sessions").is_dir() else top
    records = []
    for session in sorted(path for path in sessions.iterdir() if path.is_dir()):
        for file in sorted(session.glob("S*.xml")):
            if _FILM.fullmatch(file.stem):
                records += _middle_frames(file)
    if not records:
        raise DataError(
            f"{top}: no frontal film with a basic expression in it (Sessions/1767/S028-001.avi, "
            ".xml and session.xml); is this the top folder of MMI?"
        )
    return records


def _middle_frames(file: Path) -> list[FaceRecord]:
    """The records of the film whose label file this is; none where it is left out."""
    expression = _emotion(file)
    if expression is None or _view(file.with_name("session.xml")) != _FRONTAL:
        return []
    film = file.with_suffix(".avi")
    if not film.is_file():
        raise DataError(f"{file} labels {film.name}, which does not exist; unpack MMI again")
    frames, height, width = film_shape(film)
    first = max(0, (frames - _MIDDLE) // 2)
    turns = int(width > height and height != _UPRIGHT_LINES)
    subject = file.stem.partition("-")[0]
    return [
        FaceRecord(film, subject, expression, clip=file.stem, frame=number, quarter_turns=turns)
        for number in range(first, min(first + _MIDDLE, frames))
    ]


def _emotion(file: Path) -> str | None:
    """The basic expression of `<Metatag Name="Emotion" Value="4"/>`; None: another, or no label."""
    values = [
        tag.get("Value", "") for tag in _parse(file).iter("Metatag") if tag.get("Name") == "Emotion"
    ]
    if not values:
        return None
    if len(values) > 1 or not values[0].isdecimal() or not int(values[0]):
        raise DataError(
            f"{file}: expected one emotion numbered from 1 ({_EMOTIONS[0]}), found {values}"
        )
    number = int(values[0])
    return _EMOTIONS[number - 1] if number <= len(_EMOTIONS) else None


def _view(file: Path) -> str:
    """The view of `<track view="0" .../>`."""
    views = [view for tag in _parse(file).iter("track") if (view := tag.get("view"))]
    if not views:
        raise DataError(f'{file}: no <track view="...">; whether it is frontal is in doubt')
    return views[0]


def _parse(file: Path) -> ElementTree.Element:
    if not file.is_file():
        raise DataError(f"{file} does not exist; each session of MMI has one")
    try:
        return ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"{file}: is no XML that can be read ({error}); unpack it again") from error
