"""Protocols from a folder of photos to tables: the model, its floors, and what they stand on."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.errors import FaceFactorError
from facefactor.evaluation import probes
from facefactor.methods.facecycle.recipe import PRESETS, build
from facefactor.protocols import evaluate
from tests.made_folders import write_rafdb

TRAIN, TEST = 280, 35  # a floor of 256 components needs more faces than that


@pytest.fixture(scope="module")
def rafdb(tmp_path_factory):
    """RAF-DB's layout; the class of a face is its brightness."""
    random = np.random.default_rng(0)
    return write_rafdb(
        tmp_path_factory.mktemp("rafdb"),
        lambda label: random.integers(0, 30, (100, 100, 3)) + 25 * label,
        [number % 7 + 1 for number in range(1, TRAIN + 1)],
        [number % 7 + 1 for number in range(1, TEST + 1)],
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    recipe = PRESETS["small"]
    model = build(recipe)
    header = CheckpointHeader(
        method="facecycle",
        preset="small",
        recipe=json.loads(json.dumps(dataclasses.asdict(recipe))),
        spec=model.spec,
        seen={},
    )
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    checkpoints.save(path, model.state_dict(), header)
    return path


def test_probes_of_code_and_map_with_their_floors(rafdb, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "_EPOCHS", 5)
    monkeypatch.setattr(probes, "_STRENGTHS", (1e-3, 1e-2))
    tables = evaluate(
        weights,
        ["expression-probe", "expression-map-probe", "motion"],
        [f"rafdb={rafdb}"],
        tmp_path / "out",
        cache=tmp_path / "cache",
    )
    rows = {(table.protocol, table.model): table for table in tables}
    for protocol, floor in (
        ("expression probe, standardised recipe", "pixel PCA, 140"),
        ("expression map probe, standardised recipe", "pixel PCA, 140"),
    ):
        for model in ("facecycle", "facecycle, untrained", floor):
            assert rows[protocol, model].n == TEST
    assert len({table.split_hash for table in tables if "probe" in table.protocol}) == 1
    assert "pixel PCA, 140" in (tmp_path / "out" / "results.md").read_text()
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == len(tables)


def test_a_protocol_without_its_data_says_what_it_needs(rafdb, weights, tmp_path):
    with pytest.raises(FaceFactorError, match="verification needs one of the data sets lfw"):
        evaluate(weights, ["verification"], [f"rafdb={rafdb}"], cache=tmp_path)
    with pytest.raises(FaceFactorError, match="no protocol 'beauty'"):
        evaluate(weights, ["beauty"], [f"rafdb={rafdb}"], cache=tmp_path)


def test_a_protocol_the_model_cannot_take_says_why(rafdb, weights, tmp_path):
    for protocol in ("recognition", "recognition-by-yaw"):
        message = f"facecycle names no expressions; {protocol} needs a model that does"
        with pytest.raises(FaceFactorError, match=message):
            evaluate(weights, [protocol], [f"rafdb={rafdb}"], cache=tmp_path)
