"""Training on faces with their normalised selves, by a method as small as can be."""

import json
import logging
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import LightningModule
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from facefactor import api
from facefactor.api import learning
from facefactor.data.held_out import hold_out_people
from facefactor.data.normalized import NormalizedPairs, RenderedNormalized
from facefactor.data.readers import read_celeba
from facefactor.data.records import DataError
from facefactor.data.samples import Mixed
from facefactor.errors import FaceFactorError
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.geometry.morphable import write_morphable
from facefactor.methods import METHODS
from facefactor.stages import Stage
from facefactor.training import targets
from facefactor.training.run import TrainingError
from facefactor.training.train import train
from tests.made_folders import write
from tests.made_judges import bright_judges
from tests.made_talking_head import talking_egg

SIZE = 16


@dataclass(frozen=True)
class Recipe:
    batch_size: int = 4
    images: int = 12
    rendered_share: float = 0.25
    unpaired_share: float = 0.5


class Toy(nn.Module):
    """Grey faces, one number a face."""

    def __init__(self) -> None:
        super().__init__()
        identity = FactorSpec((1,), "brightness")
        self.spec = ModelSpec("toy", "facecycle", SIZE, 1, {"identity": identity})
        self.gain = nn.Parameter(torch.zeros(1))

    def encode(self, faces):
        assert faces.shape[1] == 1
        return Factors({"identity": faces.mean(dim=(1, 2, 3))[:, None]})

    def decode(self, factors):
        return (self.gain * factors["identity"])[:, :, None, None].expand(-1, 1, SIZE, SIZE)

    def neutral(self, name):
        raise ValueError(f"toy has no neutral {name}")


class ToyTraining(LightningModule):
    def __init__(self, model: Toy, seen: list) -> None:
        super().__init__()
        self.model = model
        self.seen = seen

    def training_step(self, batch, batch_index):
        self.seen.append(batch)
        codes = self.model.encode(batch.faces.mean(dim=1, keepdim=True))
        return (self.model.decode(codes) - batch.targets).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def seen(monkeypatch):
    """A method "toy" to train, and the batches it gets; bright photos are neutral."""
    batches: list = []

    def stages(recipe, model, instrument):
        training = ToyTraining(model, batches)
        return [Stage("main", lambda: training, "normalized", recipe.images, recipe.batch_size)]

    toy = SimpleNamespace(
        PRESETS={"small": Recipe()},
        load_instrument=lambda recipe: None,
        begin=lambda recipe, recogniser: Toy(),
        stages=stages,
    )
    monkeypatch.setitem(METHODS, "toy", toy)
    monkeypatch.setattr(targets, "packaged_judges", bright_judges)
    return batches


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    """Thirty people with three photos: a bright one that is neutral for two in three of them."""
    folder = tmp_path_factory.mktemp("data") / "CelebA"
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = []
    for number in range(90):
        bright = number % 3 == 0 and number // 3 % 3 > 0
        noise = random.integers(0, 40, (128, 128, 3)) + (200 if bright else 30)
        Image.fromarray(noise.astype(np.uint8)).save(folder / "images" / f"{number:06d}.jpg")
        lines.append(f"{number:06d}.jpg {number // 3}\n")
    write(folder / "identity.txt", "".join(lines))
    return folder


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    path = tmp_path_factory.mktemp("talker") / "talker.npz"
    write_morphable(path, talking_egg())
    return path


def test_photos_alone(seen, celeba, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        path = train("toy", {"celeba": celeba}, tmp_path / "run", cache=tmp_path)
    assert load_file(path)["gain"] != 0
    assert len(seen) == 3
    assert seen[0].faces.shape == seen[0].unpaired.shape == (2, 3, SIZE, SIZE)
    for batch in seen:
        assert min(batch.targets.mean(), batch.guides.mean()) > 0.6  # the bright ones
    trained, held_out = hold_out_people(read_celeba(celeba))
    with_target = sum(1 for r in trained if int(r.path.stem) % 3 == 0 and int(r.subject) % 3 > 0)
    assert held_out and f"{3 * with_target} photos of {with_target} people" in caplog.text
    assert list((tmp_path / "run" / "samples").glob("*.png"))  # grey ones, of held-out people
    assert list((tmp_path / "labels").glob("*.npz"))


def test_rendered_faces_alone_and_both(seen, celeba, talker, tmp_path, monkeypatch):
    drawn = []
    for kind in (NormalizedPairs, RenderedNormalized, Mixed):
        item = kind.__getitem__
        monkeypatch.setattr(
            kind,
            "__getitem__",
            lambda self, step, item=item: drawn.append(type(self).__name__) or item(self, step),
        )
    train("toy", {}, tmp_path / "rendered", morphable=talker)
    assert drawn == ["RenderedNormalized"] * 3
    assert list((tmp_path / "rendered" / "samples").glob("*.png"))
    drawn.clear()
    photos = {"celeba": celeba}
    train("toy", photos, tmp_path / "both", morphable=talker, cache=tmp_path)
    assert drawn == ["Mixed", "NormalizedPairs", "RenderedNormalized"] * 3
    # of four a quarter is rendered, and half of the photos have no target
    assert [len(images) for images in seen[-1]] == [2, 2, 2, 2]
    for share, message in (("0", "leaves out photos or"), ("1.5", "inside"), ("0.9", "leaves")):
        with pytest.raises(TrainingError, match=f"rendered_share={share}.*{message}"):
            train(
                "toy",
                photos,
                tmp_path / share,
                changes={"rendered_share": share},
                morphable=talker,
                cache=tmp_path,
            )
        assert not (tmp_path / share).exists()


def test_other_targets_are_another_run(seen, celeba, tmp_path, monkeypatch):
    """Weights begun with the photos one network calls neutral do not go on with another's."""
    run = tmp_path / "run"
    train("toy", {"celeba": celeba}, run, cache=tmp_path)
    assert len(json.loads((run / "settings.json").read_text())["targets"]) == 64
    train("toy", {"celeba": celeba}, run, cache=tmp_path)  # done: nothing to do
    assert len(seen) == 3
    monkeypatch.setattr(targets, "packaged_judges", lambda: bright_judges(at=0.1))
    with pytest.raises(TrainingError, match=r"other settings \(targets\)"):
        train("toy", {"celeba": celeba}, run, cache=tmp_path)


def test_what_is_missing_and_what_is_for_measuring_is_said(seen, celeba, tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match="--data READER=FOLDER.*--morphable FILE.* or both"):
        train("toy", {}, tmp_path / "run")
    with pytest.raises(TrainingError, match="measured on LFW, so it must not learn from it"):
        train("toy", {"celeba": celeba, "lfw": tmp_path}, tmp_path / "run")
    monkeypatch.setattr(targets, "packaged_judges", lambda: bright_judges(at=0.99))
    with pytest.raises(DataError, match="none of .* known people .* has a frontal neutral face"):
        train("toy", {"celeba": celeba}, tmp_path / "run", cache=tmp_path)
    assert not (tmp_path / "run").exists() and not seen


# The filter by itself


def test_a_collection_is_listed(celeba, tmp_path, monkeypatch):
    judges = bright_judges()
    monkeypatch.setattr(learning, "load", lambda name: judges.expressions)
    monkeypatch.setattr(learning, "packaged_landmarks", lambda: judges.landmarks)
    told = []
    found = api.find_frontal_neutral(
        celeba, tmp_path / "list.csv", cache=tmp_path, progress=lambda *done: told.append(done)
    )
    assert (found.photos, found.found, found.people, found.failed) == (90, 20, 20, {})
    assert told[-1] == (90, 90)
    assert found.table.read_text().count("\nimages/0000") == 90


@pytest.mark.parametrize(
    ("folder", "output", "reader", "message"),
    [
        ("", "list.txt", "auto", "list.txt: the list is a .csv file"),
        ("nowhere", "list.csv", "auto", "nowhere does not exist"),
        ("", "list.csv", "celebs", "no reader is called 'celebs'; there are auto, celeba"),
    ],
)
def test_a_list_that_cannot_be_made(celeba, tmp_path, folder, output, reader, message):
    with pytest.raises(FaceFactorError, match=message):
        api.find_frontal_neutral(celeba / folder, tmp_path / output, reader, cache=tmp_path)
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize(("failed", "code"), [({}, 0), ({"a.png": "a.png: no face found"}, 3)])
def test_the_command_says_how_many(tmp_path, monkeypatch, capsys, failed, code):
    from facefactor import cli
    from facefactor.data.frontal_neutral import FrontalNeutralList

    asked = {}

    def find(folder, output, **options):
        asked.update(options, folder=folder)
        return FrontalNeutralList(output, 9, 4, 3, failed)

    monkeypatch.setattr(api, "find_frontal_neutral", find)
    with pytest.raises(SystemExit) as exit:
        cli.main(
            ["data", "frontal-neutral", "faces", "-o", "list.csv", "--reader", "kdef"]
            + ["--angle", "10"]
        )
    assert exit.value.code == code
    assert (str(asked["folder"]), asked["reader"], asked["max_angle"]) == ("faces", "kdef", 10)
    told = capsys.readouterr()
    assert told.out == "4 of 9 photos are frontal and neutral, of 3 people\nlist.csv\n"
    assert ("no face found" in told.err) == bool(failed)
