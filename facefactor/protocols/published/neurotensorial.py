"""Neuro-Tensorial (ANT): Tables 1 to 3."""

from __future__ import annotations

from facefactor.protocols.published.rows import Answer, Extra, Paper, Row, of_others

_RENDERED = "rendered faces with exact normals; no protocol reads Photoface's yet"
_NOT_MULTIPIE = "other people, classes and photos than Multi-PIE's"
_CELEBA = ("celeba",)  # the autoencoder and the pixels of Tables 2 and 3 learn from it
_INSTEAD = (*_CELEBA, "kdef", "cropped-yale")
_KOSSAIFI = "the method of reference [37], which facefactor does not have"


def _normals(name: str, metric: str, value: float, unit: str) -> Row:
    answer = Answer("synthetic-truth", metric, differs=_RENDERED)
    return Row("Table 1, Photoface", name, value, unit, "neurotensorial", (answer,))


def _told(table: str, dataset: str, attribute: str, value: float, instead: str) -> Row:
    pattern = f"predictability of {attribute}, *random split"
    answers = (
        Answer("predictability", attribute, "multipie", pattern, f"{dataset}, *", beside=_CELEBA),
        Answer(
            "predictability",
            attribute,
            instead,
            pattern,
            f"{instead}*",
            beside=tuple(name for name in _INSTEAD if name != instead),  # all in one run
            differs=_NOT_MULTIPIE,
        ),
    )
    return Row(table, f"{attribute} from its code", value, "%", "neurotensorial", answers)


_TABLES = "Table 2, Multi-PIE, seven poses", "Table 3, Multi-PIE, frontal"

PAPER = Paper(
    "An Adversarial Neuro-Tensorial Approach for Learning Disentangled Representations",
    (
        *of_others("Table 1, Photoface", {"[37]": 33.37, "[30]": 30.09}, unit="°"),
        *of_others("Table 1, Photoface, faces below 35°", {"[37]": 75.3, "[30]": 84.6}),
        *of_others("Table 1, Photoface, faces below 40°", {"[37]": 96.3, "[30]": 98.1}),
        _normals("Proposed, angle between normals", "normals", 28.67, "°"),
        _normals("Proposed, faces below 35°", "normals, faces below 35°", 89.1, "%"),
        _normals("Proposed, faces below 40°", "normals, faces below 40°", 96.3, "%"),
        _told(_TABLES[0], "multipie", "identity", 83.85, "celeba"),
        _told(_TABLES[0], "multipie", "expression", 86.07, "kdef"),
        _told(_TABLES[0], "multipie", "pose", 95.73, "celeba"),
        _told(_TABLES[1], "multipie-frontal", "identity", 99.33, "cropped-yale"),
        _told(_TABLES[1], "multipie-frontal", "expression", 78.92, "kdef"),
        _told(_TABLES[1], "multipie-frontal", "illumination", 64.11, "cropped-yale"),
        *of_others(
            _TABLES[1],
            {"identity from C [37]": 19.18, "expression from E [37]": 35.49}
            | {"illumination from L [37]": 48.85},
            _KOSSAIFI,
        ),
    ),
    (
        Extra("synthetic-truth"),
        Extra("synthetic-exchange"),
        Extra("relighting", ("cropped-yale",)),  # Fig. 11
        Extra("codes-picture", ("kdef", "multipie")),  # Fig. 14 and 15
    ),
)
