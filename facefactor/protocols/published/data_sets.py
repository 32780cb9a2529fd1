"""What the published rows were measured on, and how to get it: reader -> data set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """A data set that the user has to get; none comes with the package."""

    title: str
    origin: str  # who describes it and gives it out
    layout: str  # where the folder that is expected is described

    def to_get(self, reader: str) -> str:
        """What to get and how to name it, in a line."""
        return f"{self.title} ({self.origin}); name it with -d {reader}=FOLDER, see {self.layout}"


def _read(module: str, name: str, title: str, origin: str) -> DataSet:
    return DataSet(title, origin, f"`facefactor.data.{module}.{name}`")


DATA: dict[str, DataSet] = {
    "celeba": _read(
        "readers", "read_celeba", "CelebA, aligned", "Liu, Luo, Wang and Tang, ICCV 2015"
    ),
    "rafdb": _read(
        "readers", "read_rafdb", "RAF-DB, basic", "Li, Deng and Du, CVPR 2017; ask its authors"
    ),
    "lfw": _read(
        "readers", "read_lfw", "LFW with its pairs", "Huang, Ramesh, Berg and Learned-Miller, 2007"
    ),
    "fer2013": _read("fer", "read_fer2013", "FER-2013", "Goodfellow et al., ICONIP 2013; Kaggle"),
    "ferplus": _read("fer", "read_ferplus", "FERPlus", "Barsoum et al., ICMI 2016"),
    "affectnet": _read(
        "affectnet",
        "read_affectnet",
        "AffectNet",
        "Mollahosseini, Hasani and Mahoor, 2017; ask its authors",
    ),
    "sfew": _read(
        "named_photos", "read_sfew", "SFEW 2.0", "Dhall et al., EmotiW 2015; ask its authors"
    ),
    "ckplus": _read(
        "ckplus", "read_ckplus", "CK+", "Lucey et al., CVPR workshops 2010; ask its authors"
    ),
    "ckplus48": _read("ckplus", "read_ckplus48", "CK+48", "a derivative of CK+, 48 pixels"),
    "ckplus-pairs": _read(
        "ckplus", "read_ckplus_pairs", "CK+ neutral and peak", "a derivative of CK+, first and last"
    ),
    "rafd": _read(
        "rafd", "read_rafd", "RaFD", "Langner et al., Cognition and Emotion 2010; ask its authors"
    ),
    "cfeed": _read(
        "cfeed", "read_cfeed", "CFEED", "Du, Tao and Martinez, PNAS 2014; ask its authors"
    ),
    "mmi": _read("mmi", "read_mmi", "MMI", "Pantic et al., ICME 2005; ask its authors"),
    "multipie": _read(
        "multipie", "read_multipie", "Multi-PIE", "Gross et al., FG 2008; sold by its authors"
    ),
    "kdef": _read(
        "named_photos", "read_kdef", "KDEF", "Lundqvist, Flykt and Öhman, 1998; ask its authors"
    ),
    "cropped-yale": _read(
        "cropped_yale",
        "read_cropped_yale",
        "Extended Yale B, cropped",
        "Georghiades et al., 2001; Lee, Ho and Kriegman, 2005",
    ),
    "poses": _read(
        "poses",
        "read_poses",
        "300W-LP to learn from and AFLW2000 to test on, in one poses.csv",
        "Zhu, Lei, Liu, Shi and Li, CVPR 2016",
    ),
}
MORPHABLE = (
    "a morphable model (ICT-FaceKit: Li et al., 2020); convert it with `facefactor data morphable "
    "FOLDER -o ict.npz` and name it with --morphable ict.npz"
)
