"""Training on photos beside their neutral faces, which another model's file draws."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.data import neutralised
from facefactor.data.neutralised import RenderedNeutralised
from facefactor.geometry.morphable import write_morphable
from facefactor.methods.leed import recipe as leed
from facefactor.perception.align import crop_points
from facefactor.training.run import TrainingError
from facefactor.training.train import train
from tests.made_folders import write
from tests.made_talking_head import talking_egg
from tests.small_networks import save_ipdfer

SMALLEST = {
    "encoder_channels": "[4,4,4,4]",
    "decoder_channels": "[4,4,4,4]",
    "decoder_repeats": "[0,0,0,0]",
    "critic_channels": "4",
    "siamese_channels": "[4,4,4,4,4]",
    "batch_size": "4",
    "autoencoding_images": "8",
    "editing_images": "8",
    "critic_steps": "2",
}


class _Detector:
    """Sees a face as large as the photo."""

    def detect(self, photo):
        return [SimpleNamespace(points=crop_points("facecycle", photo.shape[0]))]


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    """Twelve people with a photo each."""
    folder = tmp_path_factory.mktemp("data") / "CelebA"
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(12):
        noise = random.integers(0, 256, (128, 128, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{number:06d}.jpg")
    write(folder / "identity.txt", "".join(f"{n:06d}.jpg {n}\n" for n in range(12)))
    return folder


def test_leed_learns_beside_the_neutral_faces_of_an_ipdfer(celeba, tmp_path, monkeypatch):
    drawing = save_ipdfer(tmp_path / "ipdfer.safetensors")
    batches = []
    item = neutralised.NeutralisedFaces.__getitem__

    def watched(self, step):
        batches.append(item(self, step))
        return batches[-1]

    monkeypatch.setattr(neutralised.NeutralisedFaces, "__getitem__", watched)
    changes = SMALLEST | {"neutraliser": str(drawing)}
    path = train("leed", {"celeba": celeba}, tmp_path / "run", changes=changes, cache=tmp_path)
    assert len(batches) == 2  # of the second stage; the first looks at photos alone
    for batch in batches:
        assert batch.faces.shape == batch.neutrals.shape == (4, 3, 128, 128)
        assert (batch.faces - batch.neutrals).abs().mean() > 0.02  # an untrained one draws grey
    model = checkpoints.build_model(path)
    with torch.inference_mode():
        assert model.decode(model.encode(batches[0].faces)).isfinite().all()
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["neutraliser"] == checkpoints.read_header(drawing).sha256
    assert checkpoints.read_header(path).seen == {"autoencoding": 8, "editing": 8}

    def drawn_again(*_):
        raise AssertionError("neutral faces are drawn once")

    monkeypatch.setattr(neutralised, "_draw", drawn_again)
    train("leed", {"celeba": celeba}, tmp_path / "run", changes=changes, cache=tmp_path)


def test_photographed_and_rendered_neutral_faces_need_no_other_model(celeba, tmp_path, monkeypatch):
    """Of the photos only those with a neutral one beside them are edited: dark, and bright."""
    kdef = tmp_path / "KDEF"
    kdef.mkdir()
    for subject in range(1, 13):
        for code, level in (("AN", 40), ("NE", 200)):
            photo = Image.new("RGB", (128, 128), (level,) * 3)
            photo.save(kdef / f"AF{subject:02d}{code}S.JPG", quality=95)
    talker = tmp_path / "talker.npz"
    write_morphable(talker, talking_egg())
    monkeypatch.setattr("facefactor.perception.mtcnn.FaceDetector", _Detector)
    photos, rendered = [], []
    for kind, kept in ((neutralised.NeutralisedFaces, photos), (RenderedNeutralised, rendered)):
        item = kind.__getitem__
        monkeypatch.setattr(
            kind,
            "__getitem__",
            lambda self, step, item=item, kept=kept: kept.append(item(self, step)) or kept[-1],
        )
    changes = SMALLEST | {"neutraliser": "", "editing_images": "16"}
    data = {"celeba": celeba, "kdef": kdef}
    train("leed", data, tmp_path / "run", changes=changes, morphable=talker, cache=tmp_path)
    assert [len(batch.faces) for batch in photos] == [3] * 4
    assert [len(batch.faces) for batch in rendered] == [1] * 4
    for batch in photos:
        assert batch.neutrals.mean(dim=(1, 2, 3)).min() > 0.6  # every neutral photo is a bright one
    assert min(batch.faces.mean(dim=(1, 2, 3)).min() for batch in photos) < 0.3
    with pytest.raises(TrainingError, match="no photo has a neutral photo .* neutraliser=FILE"):
        train("leed", {"celeba": celeba}, tmp_path / "no", changes=changes, cache=tmp_path)


def test_what_cannot_draw_neutral_faces_is_refused_before_any_work(celeba, tmp_path, monkeypatch):
    missing = {"neutraliser": "nobody"}
    with pytest.raises(TrainingError, match="--set neutraliser=FILE.: nobody: no weights"):
        train("leed", {"celeba": celeba}, tmp_path / "run", changes=missing, cache=tmp_path)
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("*.npy"))


def test_a_smaller_leed_is_its_own_file_when_read_again(tmp_path):
    """Every setting of the recipe survives JSON."""
    narrow = dataclasses.replace(
        leed.PRESETS["small"],
        encoder_channels=(4, 4, 4, 4),
        decoder_channels=(4, 4, 4, 4),
        siamese_channels=(4, 4, 4, 4, 4),
    )
    model = leed.build(narrow)
    header = CheckpointHeader("leed", "small", dataclasses.asdict(narrow), model.spec)
    saved = checkpoints.save(tmp_path / "leed.safetensors", model.state_dict(), header)
    assert checkpoints.build_recipe(saved) == narrow
