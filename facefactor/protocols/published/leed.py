"""LEED (ECCV 2020): Tables 1 to 3."""

from __future__ import annotations

from collections.abc import Sequence

from facefactor.protocols.published.rows import USER_STUDY, Answer, Extra, Paper, Row, of_others

_STARGAN = (
    "StarGAN is here as a baseline (train stargan), but no weights come with the package; of one's "
    "own: facefactor evaluate MODEL -p edited-expressions"
)
_BY_PERSON = "split by person, the paper's by photo"
_DIFFERS = {
    "FID": f"features of the packaged recogniser, not of Inception, and fewer faces; {_BY_PERSON}",
    "SSIM": _BY_PERSON,
    "R": f"HoG and a linear SVM; the paper does not say which classifier; {_BY_PERSON}",
}
_METRICS = {
    "FID": "Frechet distance from real faces, recogniser",
    "SSIM": "SSIM, the true photo",
    "R": "R",
    "Ours, G": "G",
    "Ours, R + G": "R + G",
}


def _row(table: str, name: str, metric: str, value: float, reader: str, unit: str) -> Row:
    answer = Answer(
        "edited-expressions",
        _METRICS[metric],
        reader,
        differs=_DIFFERS.get(metric, _DIFFERS["R"]),
    )
    return Row(table, name, value, unit, "leed", (answer,))


def _quality(
    title: str, metric: str, stargan: float, ganimation: float, ours: float
) -> tuple[Row, ...]:
    """Table 1, one measure of one data set."""
    table = f"Table 1, {title}, {metric}"
    return (
        *of_others(table, {"StarGAN": stargan}, _STARGAN, ""),
        *of_others(table, {"GANimation": ganimation}, unit=""),
        _row(table, "Ours", metric, ours, title.lower(), ""),
    )


def _classified(
    title: str, stargan: tuple[float, float], ganimation: tuple[float, float], ours: Sequence[float]
) -> tuple[Row, ...]:
    """Table 2, one data set: G and R + G of the others; R, G and R + G."""
    table = f"Table 2, {title}"
    names = "R", "Ours, G", "Ours, R + G"
    return (
        *of_others(table, dict(zip(_of("StarGAN"), stargan, strict=True)), _STARGAN),
        *of_others(table, dict(zip(_of("GANimation"), ganimation, strict=True))),
        *(
            _row(table, name, name, value, title.lower(), "%")
            for name, value in zip(names, ours, strict=True)
        ),
    )


def _of(method: str) -> tuple[str, str]:
    return f"{method}, G", f"{method}, R + G"


PAPER = Paper(
    "LEED: Label-Free Expression Editing via Disentanglement",
    (
        *_quality("RaFD", "FID", 62.51, 45.55, 38.20),
        *_quality("RaFD", "SSIM", 0.8563, 0.8686, 0.8833),
        *_quality("CFEED", "FID", 42.39, 29.07, 23.60),
        *_quality("CFEED", "SSIM", 0.8011, 0.8088, 0.8194),
        # GANimation's G is lost in our text of the paper; it is 88.67 less the 4.31 that it says.
        *_classified("RaFD", (82.37, 88.48), (84.36, 92.31), (92.21, 88.67, 93.25)),
        *_classified("CFEED", (77.80, 81.87), (79.46, 84.42), (88.23, 84.35, 90.06)),
        *of_others(
            "Table 3, RaFD, real or fake",
            {"Real": 78.82, "StarGAN": 31.76, "GANimation": 47.06, "Ours": 74.12},
            USER_STUDY,
        ),
        *of_others(
            "Table 3, RaFD, which's more real",
            {"StarGAN": 7.06, "GANimation": 15.29, "Ours": 77.65},
            USER_STUDY,
        ),
        *of_others(
            "Table 3, CFEED, real or fake",
            {"Real": 72.50, "StarGAN": 14.37, "GANimation": 31.87, "Ours": 70.63},
            USER_STUDY,
        ),
        *of_others(
            "Table 3, CFEED, which's more real",
            {"StarGAN": 8.75, "GANimation": 9.38, "Ours": 81.87},
            USER_STUDY,
        ),
    ),
    (
        Extra("edited-expressions", ("kdef", "ckplus-pairs")),
        Extra("synthesis", ("kdef", "celeba")),
        Extra("codes-picture", ("kdef",)),
    ),
)
