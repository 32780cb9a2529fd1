"""IPD-FER (IEEE Transactions on Affective Computing, 2022): Tables 1 to 9."""

from __future__ import annotations

from facefactor.protocols.published.rows import Answer, Extra, Over, Paper, Row, of_others

_NAMES = {"ipdfer": "IPD-FER", "id-fer": "ID-FER", "baseline": "ResNet-18"}
_ELSEWHERE = "these weights were not trained on this data set alone"
_TEN_FOLDS = (
    "ten trainings, each tested on people it did not see; no protocol trains them (`facefactor "
    "train ipdfer --preset small-id` trains one)"
)
_BINS = "counts of pose labels by the authors' landmark network, of training photos"
_HOURS = "hours on a GTX 1080; the cards of the weights say how long ours took"
_FROM_RAFDB = "weights files do not say what their training began with"


def _best_and_mean(
    table: str, reader: str, of: str, best: float, mean: float, n: int
) -> tuple[Row, ...]:
    """What the paper prints as "best (mean ± deviation)" of four seeds."""
    own = Answer("recognition", "accuracy", reader)
    other = Answer(
        "recognition", "accuracy", reader, model="{model}, trained *", differs=_ELSEWHERE
    )
    rows: list[tuple[str, float, Over]] = [
        ("best of four seeds", best, "best"),
        ("mean of four seeds", mean, "mean"),
    ]
    return tuple(
        Row(table, f"{_NAMES[of]}, {name}", value, "%", of, (own, other), over, n)
        for name, value, over in rows
    )


def _by_yaw(metric: str, n: int, values: dict[str, float]) -> tuple[Row, ...]:
    answer = Answer("recognition-by-yaw", metric, "rafdb")
    return tuple(
        Row(
            "Table 8, RAF-DB by head yaw", f"{_NAMES[of]}, {metric}", value, "%", of, (answer,), n=n
        )
        for of, value in values.items()
    )


def _without(loss: str, of: str, value: float) -> Row:
    answer = Answer("recognition", "accuracy", "rafdb")
    return Row(
        "Table 9, RAF-DB, ablation", f"without {loss}", value, "%", of, (answer,), "best", 3068
    )


PAPER = Paper(
    "Disentangling Identity and Pose for Facial Expression Recognition",
    (
        *of_others(
            "Table 1, photos by head yaw",
            {"RAF-DB, 0° to 10°": 5836, "RAF-DB, 10° to 20°": 2544, "RAF-DB, 20° to 30°": 1646}
            | {"RAF-DB, 30° to 40°": 1058, "RAF-DB, > 40°": 1187}
            | {"FERPlus, 0° to 10°": 13515, "FERPlus, 10° to 20°": 4985}
            | {"FERPlus, 20° to 30°": 3200, "FERPlus, 30° to 40°": 2486, "FERPlus, > 40°": 874}
            | {"AffectNet, 0° to 10°": 167448, "AffectNet, 10° to 20°": 66322}
            | {"AffectNet, 20° to 30°": 35732, "AffectNet, 30° to 40°": 12146}
            | {"AffectNet, > 40°": 2253, "SFEW 2.0, 0° to 10°": 453, "SFEW 2.0, 10° to 20°": 279}
            | {"SFEW 2.0, 20° to 30°": 157, "SFEW 2.0, 30° to 40°": 49, "SFEW 2.0, > 40°": 17},
            _BINS,
            "photos",
        ),
        *of_others(
            "Table 2, CK+",
            {"IDFERM": 98.35, "DeRL": 97.3, "IA-gen": 96.57, "ADFL": 98.17, "TDGAN": 97.53}
            | {"TER-GAN": 98.47, "Huang et al.": 98.65, "IF-GAN": 97.52, "Cross-VAE": 94.96}
            | {"FN2EN": 98.6},
        ),
        *of_others(
            "Table 2, CK+",
            {"ResNet-18, 6 expressions": 98.22, "ResNet-18, 6 and contempt": 97.39}
            | {"IPD-FER, 6 expressions": 99.28, "IPD-FER, 6 and contempt": 98.65},
            _TEN_FOLDS,
        ),
        *of_others(
            "Table 3, RAF-DB",
            {"TDGAN": 81.91, "IF-GAN": 88.33, "DLN": 86.4, "Cross-VAE": 84.81}
            | {"IPA2LT (LTNet)": 86.77, "RAN-ResNet18": 86.90, "SCN": 88.14}
            | {"Progressive Teacher": 88.69},
        ),
        *_best_and_mean("Table 3, RAF-DB", "rafdb", "baseline", 87.48, 87.32, 3068),
        *_best_and_mean("Table 3, RAF-DB", "rafdb", "ipdfer", 88.89, 88.67, 3068),
        *of_others(
            "Table 4, FERPlus",
            {"PLD": 85.1, "ResNet+VGG": 87.4, "CNNs and BOVW + local SVM": 87.76, "SCN": 88.01},
        ),
        *_best_and_mean("Table 4, FERPlus", "ferplus", "baseline", 87.75, 87.63, 3589),
        *_best_and_mean("Table 4, FERPlus", "ferplus", "ipdfer", 88.42, 88.32, 3589),
        *of_others(
            "Table 5, AffectNet",
            {"IPA2LT": 56.51, "gACNN": 58.78, "IPFR": 57.4, "RAN-ResNet18": 59.5}
            | {"Chen et al.": 61.98},
        ),
        *_best_and_mean("Table 5, AffectNet", "affectnet", "baseline", 59.06, 58.74, 3500),
        *_best_and_mean("Table 5, AffectNet", "affectnet", "ipdfer", 62.23, 61.98, 3500),
        *of_others(
            "Table 6, SFEW 2.0",
            {"IACNN": 50.98, "FN2EN": 55.15, "IL-CNN": 52.52, "RAN-ResNet18": 54.19}
            | {"Covariance Pooling": 58.14},
        ),
        *_best_and_mean("Table 6, SFEW 2.0", "sfew", "baseline", 46.88, 45.79, 436),
        *_best_and_mean("Table 6, SFEW 2.0", "sfew", "ipdfer", 52.43, 50.69, 436),
        *of_others(
            "Table 6, SFEW 2.0",
            {"ResNet-18 (pre-trained), best": 56.12, "ResNet-18 (pre-trained), mean": 55.25}
            | {"IPD-FER (pre-trained), best": 58.43, "IPD-FER (pre-trained), mean": 58.05},
            _FROM_RAFDB,
        ),
        *of_others(
            "Table 7, hours of training",
            {"ResNet-18, RAF-DB": 0.5, "IPD-FER, RAF-DB": 2.5, "ResNet-18, FERPlus": 1.0}
            | {"IPD-FER, FERPlus": 7.5, "ResNet-18, AffectNet": 2.5, "IPD-FER, AffectNet": 24.0}
            | {"ResNet-18, SFEW 2.0": 0.05, "IPD-FER, SFEW 2.0": 0.3},
            _HOURS,
            "h",
        ),
        *_by_yaw("all", 3068, {"baseline": 87.06, "id-fer": 87.65, "ipdfer": 88.89}),
        *_by_yaw("yaw ≥ 10°", 1704, {"baseline": 86.44, "id-fer": 86.74, "ipdfer": 88.67}),
        *_by_yaw("yaw ≥ 20°", 990, {"baseline": 85.56, "id-fer": 86.46, "ipdfer": 88.79}),
        *_by_yaw("yaw ≥ 30°", 574, {"baseline": 83.45, "id-fer": 85.02, "ipdfer": 87.11}),
        *_by_yaw("yaw ≥ 40°", 308, {"baseline": 81.49, "id-fer": 84.09, "ipdfer": 87.66}),
        _without("L_confusion", "ipdfer without confusion", 88.20),
        _without("L_cos", "ipdfer without orthogonality", 87.32),
        _without("L_id", "ipdfer without identity", 87.58),
        _without("D", "ipdfer without fake_neutral and fake_expression", 87.81),
        Row(
            "Table 9, RAF-DB, ablation",
            "all losses",
            88.89,
            of="ipdfer",
            answers=(Answer("recognition", "accuracy", "rafdb"),),
            over="best",
            n=3068,
        ),
    ),
    (Extra("synthesis", ("rafdb",)), Extra("codes-picture", ("rafdb",))),  # Fig. 9 and 10
)
