"""`edited-expressions`: from a made folder to tables and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from facefactor.data.held_out import hold_out_people
from facefactor.data.records import DataError, FaceRecord
from facefactor.data.same_session import find_expressions
from facefactor.errors import FaceFactorError
from facefactor.images import write_image
from facefactor.perception.align import CROPS
from facefactor.protocols import Subject, evaluate, wanted_edits
from facefactor.protocols.edited_expressions import STRENGTHS, _classifier
from facefactor.protocols.wanted_edits import PHOTOGRAPHED, find_edits, two_parts
from tests.small_networks import save_ipdfer, save_nfgan

SHOWN = ("NES", "HAS", "SUS")


def face_of(person, expression, side=100):
    """A person's own grey, with stripes where its mouth would be: none, level, upright."""
    face = np.full((side, side, 3), 90 + 12 * person, np.uint8)
    if expression == "HAS":
        face[65:95:6, 20:80] = 250
    if expression == "SUS":
        face[65:95, 20:80:6] = 250
    noise = np.random.default_rng((person, SHOWN.index(expression))).integers(0, 5, face.shape)
    return face + noise.astype(np.uint8)


@pytest.fixture(scope="module")
def kdef(tmp_path_factory):
    """KDEF's layout: three people held out and eight not, with three expressions each."""
    top = tmp_path_factory.mktemp("kdef")
    names = [f"{letter}{number:02d}" for letter in "FM" for number in range(1, 36)]
    kept, out = hold_out_people([FaceRecord(top / name, name) for name in names])
    for person, record in enumerate([*kept[:8], *out[:3]]):
        for expression in SHOWN:
            path = top / f"A{record.subject}{expression}.png"
            write_image(path, face_of(person, expression))
    return top


@pytest.fixture(scope="module", autouse=True)
def faces_where_they_are_made():
    """Made photos are the crop already; no detector would find a face in them."""
    with pytest.MonkeyPatch.context() as patch:
        cut = Subject.cut

        def placed(self, records, size=None, crop=None):
            points = np.array(CROPS[crop or self.header.spec.crop].points) * 100 - 0.5
            return cut(self, [replace(r, points=points) for r in records], size, crop)

        patch.setattr(Subject, "cut", placed)
        patch.delenv("FACEFACTOR_WEIGHTS", raising=False)
        yield


@pytest.fixture(scope="module")
def ipdfer(tmp_path_factory):
    return save_ipdfer(tmp_path_factory.mktemp("ipdfer") / "model.safetensors")


def test_edits_by_hand():
    """Anna is neutral and happy, Bert neutral and sad, Carl happy: nobody but Bert is sad."""

    def photo(subject, expression):
        return FaceRecord(Path(f"{subject}-{expression}.png"), subject, expression, frontal=True)

    records = [
        photo("anna", "neutral"),
        photo("anna", "happiness"),
        photo("bert", "neutral"),
        photo("bert", "sadness"),
        photo("carl", "happiness"),
    ]
    shown = find_expressions(np.zeros((5, 8, 8, 3), np.uint8), records)
    assert shown[0] == {"neutral": 0, "happiness": 1} and shown[4] == {"happiness": 4}
    edits = find_edits(shown, records, seed=0)
    found = torch.stack([edits.target, edits.source, edits.truth], dim=1).tolist()
    # to be happy like Carl, neutral like Bert, neutral like Anna
    assert found == [[0, 4, 1], [1, 2, 0], [3, 0, 2]]
    assert len(edits.some(2, seed=1)) == 2


def test_nobody_is_in_both_parts_and_expressions_come_from_others(ipdfer, kdef, tmp_path):
    subject = Subject(ipdfer, tmp_path)
    known, strangers = two_parts(subject, "kdef", kdef, ("neutral", "happiness", "surprise"), 0)
    assert not {r.subject for r in known.records} & {r.subject for r in strangers.records}
    assert (len(known.edits), len(strangers.edits)) == (8 * 3 * 2, 3 * 3 * 2)
    for people in (known, strangers):
        edits, records = people.edits, people.records
        for target, source, truth in zip(edits.target, edits.source, edits.truth, strict=True):
            assert records[target].subject == records[truth].subject != records[source].subject
            assert records[source].expression == records[truth].expression
            assert records[truth].expression != records[target].expression
    _, fewer = two_parts(subject, "kdef", kdef, ("neutral", "happiness"), 0)
    assert set(fewer.labels) == {"neutral", "happiness"}


def test_tables_and_a_picture(ipdfer, kdef, tmp_path):
    out = tmp_path / "out"
    tables = evaluate(ipdfer, ["edited-expressions"], [f"kdef={kdef}"], out, cache=tmp_path)
    assert [table.model for table in tables] == [
        "ipdfer",
        "ipdfer, untrained",
        "copy of the input",
        "the true photo",
        "the true photo, redrawn by ipdfer",
    ]
    own, untrained, copy, truth, _ = tables
    assert {table.n for table in tables} == {18} and own.dataset == "kdef, held-out people"
    assert own.instruments == ("recogniser", "ipdfer")
    # photos of the made people differ by stripes that a classifier cannot miss
    assert truth["R"] == truth["G"] == 100 and copy["G"] == 0
    assert truth["PSNR, the true photo"] == 100 and copy["PSNR, the true photo"] < 40
    assert copy["similarity to the photo, recogniser"] == pytest.approx(1)
    assert truth["share of that kept, recogniser"] == pytest.approx(100)
    assert 0 <= own["R + G"] <= 100 and own["G"] < 100
    for strength in STRENGTHS:
        assert 0 <= own[f"probability at strength {strength:g}, ipdfer"] <= 100
    assert {score.metric for score in own.scores} > {score.metric for score in copy.scores}
    assert (out / "edited-kdef-ipdfer.png").is_file()


def test_what_cannot_be_measured_is_refused(ipdfer, kdef, tmp_path):
    with pytest.raises(FaceFactorError, match="edited-expressions needs one of .* rafd, cfeed"):
        evaluate(ipdfer, ["edited-expressions"], [f"rafdb={kdef}"], cache=tmp_path)
    nfgan = save_nfgan(tmp_path / "nfgan.safetensors")
    with pytest.raises(FaceFactorError, match="does not separate expression"):
        evaluate(nfgan, ["edited-expressions"], [f"kdef={kdef}"], cache=tmp_path)
    subject = Subject(ipdfer, tmp_path)
    with pytest.raises(DataError, match="nobody is shown with two expressions"):
        two_parts(subject, "kdef", kdef, ("neutral",), 0)
    with pytest.raises(DataError, match="too few people in it for any to be trained on"):
        two_parts(subject, "kdef", kdef, ("fear",), 0)


def test_every_data_set_named_has_a_reader():
    assert set(PHOTOGRAPHED) <= set(wanted_edits.READERS)


@pytest.mark.parametrize("count", [12, 60])  # fewer than numbers, and more
def test_a_classifier_fit_in_the_span_of_its_codes_is_the_one_fit_on_them(count):
    random = np.random.default_rng(0)
    codes = random.standard_normal((count, 30)).astype(np.float32)
    labels = [("happy", "sad", "fear")[row % 3] for row in range(count)]
    asked = random.standard_normal((50, 30))
    found = _classifier(torch.from_numpy(codes), labels)
    direct = LinearSVC(dual=False).fit(codes.astype(np.float64), labels)
    np.testing.assert_allclose(
        found.decision_function(asked), direct.decision_function(asked), atol=0.01
    )
    assert found.coef_.shape == (3, 30)
