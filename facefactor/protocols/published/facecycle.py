"""FaceCycle (ICCV 2021): Tables 1 to 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from facefactor.evaluation.descriptors import DESCRIPTORS
from facefactor.protocols.published.rows import Answer, Extra, Paper, Row, of_others

_PROBE = "expression probe, published recipe"
_CPLFW = "there is no reader of CPLFW's pairs"


def _expression(table: str, reader: str, n: int, values: Mapping[str, float]) -> tuple[Row, ...]:
    answer = Answer("expression-probe", "accuracy", reader, _PROBE)
    return _rows(table, answer, n, values)


def _pose(name: str, metric: str, value: float) -> Row:
    answer = Answer("head-pose", metric, "poses")
    return Row("Table 2, AFLW2000", f"Ours, {name}", value, "°", "facecycle", (answer,), n=2000)


def _rows(
    table: str, answer: Answer, n: int, values: Mapping[str, float], unit: str = "%"
) -> tuple[Row, ...]:
    """Rows of the method, of MoCo with its encoder, and of descriptors measured beside it."""
    return tuple(
        Row(
            table,
            name,
            value,
            unit,
            "moco" if name == "MoCo" else "facecycle",
            (replace(answer, model=name) if name in DESCRIPTORS else answer,),
            n=n,
        )
        for name, value in values.items()
    )


_VERIFIED = Answer("verification", "accuracy", "lfw", beside=("celeba",))
_TABLE_1 = "Table 1, FER-2013", "Table 1, RAF-DB"
_TABLE_3 = "Table 3, LFW", "Table 3, CPLFW"

PAPER = Paper(
    "Learning Facial Representations from the Cycle-consistency of Face",
    (
        *of_others(_TABLE_1[0], {"FSN": 67.60, "ALT": 69.85}),
        *of_others(_TABLE_1[0], {"FAb-Net": 46.98, "TCAE": 45.05, "BMVC'20": 47.61}),
        *_expression(
            _TABLE_1[0], "fer2013", 3589, {"LBP": 37.89, "HoG": 45.47, "MoCo": 47.24, "Ours": 48.76}
        ),
        *of_others(_TABLE_1[1], {"FSN": 81.10, "ALT": 84.50}),
        *of_others(_TABLE_1[1], {"FAb-Net": 66.72, "TCAE": 65.32, "BMVC'20": 58.86}),
        *_expression(
            _TABLE_1[1], "rafdb", 3068, {"LBP": 52.17, "HoG": 63.53, "MoCo": 68.32, "Ours": 71.01}
        ),
        *of_others(
            "Table 2, AFLW2000, mean of yaw, pitch and roll",
            {"FAN": 9.12, "FSA-Net": 5.75, "Dlib (68 points)": 15.80, "FAb-Net": 13.89}
            | {"TCAE": 17.39, "BMVC'20": 16.90},
            unit="°",
        ),
        *_rows(
            "Table 2, AFLW2000, mean of yaw, pitch and roll",
            Answer("head-pose", "mean", "poses"),
            2000,
            {"LBP": 18.27, "HoG": 14.00, "MoCo": 20.11},
            "°",
        ),
        _pose("yaw", "yaw", 11.70),
        _pose("pitch", "pitch", 12.76),
        _pose("roll", "roll", 12.94),
        _pose("mean", "mean", 12.47),
        *of_others(_TABLE_3[0], {"VGG-Face": 98.95, "SphereFace": 99.42, "ArcFace": 99.53}),
        *of_others(_TABLE_3[0], {"VGG": 71.48}),
        *_rows(
            _TABLE_3[0], _VERIFIED, 6000, {"LBP": 56.90, "HoG": 62.73, "MoCo": 65.88, "Ours": 73.72}
        ),
        *of_others(_TABLE_3[1], {"VGG-Face": 84.00, "SphereFace": 81.40, "ArcFace": 92.08}),
        *of_others(_TABLE_3[1], {"LBP": 51.50, "HoG": 51.73, "MoCo": 55.12, "Ours": 58.52}, _CPLFW),
    ),
    (
        Extra("neutral-consistency", ("celeba",)),
        Extra("normalization", ("celeba",)),  # of its neutral faces, which are frontal
        Extra("motion", ("rafdb",)),
        Extra("synthesis", ("celeba",)),
        Extra("codes-picture", ("rafdb",)),
    ),
)
