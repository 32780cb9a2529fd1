"""`neutral-consistency` looks at faces without their expression, of models that have one."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facefactor.data.crops import CroppedFaces
from facefactor.data.records import FaceRecord
from facefactor.editing import FactorError
from facefactor.evaluation.consistency import neutral_consistency
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.images import photos_to_faces
from facefactor.protocols import neutral

SIZE = 8
RECORDS = [FaceRecord(Path(f"{number}.png"), subject=f"{number // 2}") for number in range(6)]
PIXELS = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3)).astype(np.uint8)


class Steps:
    """Who it is: a face in four steps of light; the expression: what these leave."""

    def __init__(self, *factors):
        shape = (3, SIZE, SIZE)
        specs = {name: FactorSpec(shape, "") for name in factors}
        self.spec = ModelSpec("steps", "arcface", SIZE, 3, specs)

    def encode(self, faces):
        codes = {"identity": (4 * faces).floor() / 4}
        codes["expression"] = faces - codes["identity"]
        return Factors({name: codes[name] for name in self.spec.factors})

    def decode(self, factors):
        return sum(factors.codes.values())

    def neutral(self, name):
        return torch.zeros(3, SIZE, SIZE)


def subject(model):
    return SimpleNamespace(
        name="steps",
        model=model,
        header=SimpleNamespace(spec=model.spec),
        cut=lambda records: CroppedFaces(PIXELS, list(records), []),
    )


@pytest.fixture(autouse=True)
def strangers(monkeypatch):
    monkeypatch.setitem(neutral.READERS, "clips", lambda folder: RECORDS)
    monkeypatch.setattr(neutral, "hold_out_people", lambda records: ([], list(records)))


def test_the_expression_is_off(tmp_path):
    found = neutral.neutral_faces(subject(Steps("identity", "expression")), {"clips": tmp_path}, 0)
    faces, names = photos_to_faces(PIXELS), [str(record.subject) for record in RECORDS]
    expected = neutral_consistency((4 * faces).floor() / 4, faces, names, "clips", "steps")
    assert [table.scores for table in found.tables] == [expected.scores]


def test_faces_that_are_normalised_anyway_are_no_neutral_ones(tmp_path):
    with pytest.raises(FactorError, match="steps does not separate expression"):
        neutral.neutral_faces(subject(Steps("identity")), {"clips": tmp_path}, 0)
