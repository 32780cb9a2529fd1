"""NFGAN (ISBA 2018): Table 4, and what Fig. 4 says in figures. Tables 1 to 3 are layers."""

from __future__ import annotations

from facefactor.protocols.published.rows import Answer, Extra, Paper, Row, of_others

_ALONE = "2B(N+M)Softmax"
_CK48 = "CK+48, the last three frames of each clip at 48 pixels, in place of CK+"
_FIGURE_4 = (
    "another recogniser, with another threshold, on other photos than the paper's collection"
)


def _folds(table: str, readers: tuple[str, ...], name: str, model: str, value: float) -> Row:
    answers = tuple(
        Answer(
            "expression-folds",
            "accuracy",
            reader,
            model=model,
            differs=_CK48 if reader == "ckplus48" else "",
        )
        for reader in readers
    )
    return Row(table, name, value, "%", "nfgan", answers)


def _identity(name: str, of: str, value: float) -> Row:
    metric = "same person as the photo, recogniser"
    answers = tuple(
        Answer("normalization", metric, reader, differs=_FIGURE_4) for reader in ("celeba", "kdef")
    )
    return Row("Fig. 4, same person after normalising", name, value, "%", of, answers)


PAPER = Paper(
    "Normalized Face Image Generation with Perceptron Generative Adversarial Networks",
    (
        _identity("with L_id", "nfgan", 100.0),
        _identity("without L_id (about)", "nfgan without identity", 98.0),
        *of_others("Table 4, CK+", {"[33]": 97.25}),
        _folds("Table 4, CK+", ("ckplus", "ckplus48"), "[2], 2B(N+M)Softmax", _ALONE, 97.1),
        _folds(
            "Table 4, CK+",
            ("ckplus", "ckplus48"),
            "NFGAN-2B(N+M)",
            f"{_ALONE} and faces normalised by {{model}}",
            97.49,
        ),
        *of_others("Table 4, MMI", {"[34]": 75.12}),
        _folds("Table 4, MMI", ("mmi",), "[2], 2B(N+M)Softmax", _ALONE, 78.53),
        _folds(
            "Table 4, MMI",
            ("mmi",),
            "NFGAN-2B(N+M)",
            f"{_ALONE} and faces normalised by {{model}}",
            80.26,
        ),
    ),
    (Extra("normalization", ("celeba", "kdef")), Extra("normalized-verification", ("lfw",))),
)
