"""LEED (ECCV 2020): Tables 1 to 3."""

from __future__ import annotations

from facefactor.protocols.published.rows import USER_STUDY, Extra, Paper, of_others

_QUALITY = (
    "no protocol yet compares edited faces with the true photos of the same people (RaFD: reader "
    "rafd; CFEED: reader cfeed)"
)
_CLASSIFIED = "no protocol yet trains a classifier on edited faces (readers rafd, cfeed)"
_TRAINED = "StarGAN is here as a baseline, but no protocol measures edited faces yet"

PAPER = Paper(
    "LEED: Label-Free Expression Editing via Disentanglement",
    (
        *of_others("Table 1, RaFD, FID", {"StarGAN": 62.51}, _TRAINED, ""),
        *of_others("Table 1, RaFD, FID", {"GANimation": 45.55}, unit=""),
        *of_others("Table 1, RaFD, FID", {"Ours": 38.20}, _QUALITY, ""),
        *of_others("Table 1, RaFD, SSIM", {"StarGAN": 0.8563}, _TRAINED, ""),
        *of_others("Table 1, RaFD, SSIM", {"GANimation": 0.8686}, unit=""),
        *of_others("Table 1, RaFD, SSIM", {"Ours": 0.8833}, _QUALITY, ""),
        *of_others("Table 1, CFEED, FID", {"StarGAN": 42.39}, _TRAINED, ""),
        *of_others("Table 1, CFEED, FID", {"GANimation": 29.07}, unit=""),
        *of_others("Table 1, CFEED, FID", {"Ours": 23.60}, _QUALITY, ""),
        *of_others("Table 1, CFEED, SSIM", {"StarGAN": 0.8011}, _TRAINED, ""),
        *of_others("Table 1, CFEED, SSIM", {"GANimation": 0.8088}, unit=""),
        *of_others("Table 1, CFEED, SSIM", {"Ours": 0.8194}, _QUALITY, ""),
        *of_others("Table 2, RaFD", {"R": 92.21}, _CLASSIFIED),
        *of_others("Table 2, RaFD", {"StarGAN, G": 82.37, "StarGAN, R + G": 88.48}, _TRAINED),
        # The first is lost in our text of the paper; it is 88.67 less the 4.31 that the text says.
        *of_others("Table 2, RaFD", {"GANimation, G": 84.36, "GANimation, R + G": 92.31}),
        *of_others("Table 2, RaFD", {"Ours, G": 88.67, "Ours, R + G": 93.25}, _CLASSIFIED),
        *of_others("Table 2, CFEED", {"R": 88.23}, _CLASSIFIED),
        *of_others("Table 2, CFEED", {"StarGAN, G": 77.80, "StarGAN, R + G": 81.87}, _TRAINED),
        *of_others("Table 2, CFEED", {"GANimation, G": 79.46, "GANimation, R + G": 84.42}),
        *of_others("Table 2, CFEED", {"Ours, G": 84.35, "Ours, R + G": 90.06}, _CLASSIFIED),
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
    (Extra("synthesis", ("kdef", "celeba")), Extra("codes-picture", ("kdef",))),
)
