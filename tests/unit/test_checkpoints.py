"""One self-describing weight file, and every way it can be wrong."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from facefactor import checkpoints
from facefactor.checkpoints import (
    CheckpointError,
    CheckpointHeader,
    fill,
    hash_tensors,
    load,
    read_header,
    save,
)
from facefactor.factors import FactorSpec, ModelSpec
from facefactor.files import WriteError

HEADER = CheckpointHeader(
    method="facecycle",
    preset="small",
    recipe={"channels": 16, "rates": [0.1, 0.2], "norm": None},
    spec=ModelSpec(
        "facecycle",
        "facecycle",
        64,
        3,
        {
            "identity": FactorSpec((8,), "who", owns=("neutral_face",)),
            "expression": FactorSpec((2, 3), "what", covers=("pose",)),
        },
    ),
    seen={"expression": 1000, "identity": 0},
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=False))


def rewrite(path: Path, **changes: object) -> None:
    """The same tensors with another header."""
    with safe_open(str(path), framework="pt") as file:
        described = json.loads(file.metadata()["facefactor"])
    described |= changes
    described = {key: value for key, value in described.items() if value is not None}
    save_file(load_file(path), str(path), {"facefactor": json.dumps(described)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(tmp_path / "model.safetensors", network().state_dict(), HEADER)
    return tmp_path / "model.safetensors"


def test_header_and_weights_come_back(path: Path) -> None:
    header, tensors = load(path)
    assert header == read_header(path)
    assert replace(header, sha256="") == HEADER
    assert isinstance(header.spec.factors["expression"].shape, tuple)
    for name, tensor in network().state_dict().items():
        assert torch.equal(tensors[name], tensor)
    assert tensors["1.num_batches_tracked"].dtype == torch.int64


def test_float16_halves_the_file_and_comes_back_as_float32(tmp_path: Path) -> None:
    state = {"weight": torch.randn(100, 100, generator=torch.Generator().manual_seed(0))}
    save(tmp_path / "full.safetensors", state, HEADER)
    save(tmp_path / "half.safetensors", state, HEADER, dtype="float16")
    _, tensors = load(tmp_path / "half.safetensors")
    assert tensors["weight"].dtype == torch.float32
    torch.testing.assert_close(tensors["weight"], state["weight"], atol=2e-3, rtol=1e-3)
    assert not torch.equal(tensors["weight"], state["weight"])
    sizes = [os.path.getsize(tmp_path / f"{name}.safetensors") for name in ("full", "half")]
    assert sizes[0] - sizes[1] == pytest.approx(20_000, abs=16)


def test_weights_that_share_memory_and_views_can_be_stored(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    save(tmp_path / "a.safetensors", {"one": weight, "two": weight, "turned": weight.T}, HEADER)
    _, tensors = load(tmp_path / "a.safetensors")
    assert torch.equal(tensors["turned"], weight.T)


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 2.5])},
        {"b": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0]).view(torch.int32)},
        {"a": torch.tensor([1.0]), "b": torch.tensor([2.0])},
    ],
)
def test_the_hash_sees_values_names_shapes_and_types(other: dict[str, torch.Tensor]) -> None:
    one = {"a": torch.tensor([1.0, 2.0])}
    assert hash_tensors(one) == hash_tensors({"a": torch.tensor([1.0, 2.0])})
    assert hash_tensors(one) != hash_tensors(other)


def test_the_hash_does_not_depend_on_the_order() -> None:
    a, b = torch.ones(2), torch.zeros(())
    assert hash_tensors({"a": a, "b": b}) == hash_tensors({"b": b, "a": a})


def test_a_single_flipped_bit_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    read_header(path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: its weights have the hash"):
        load(path)


def test_bad_files(tmp_path: Path, path: Path) -> None:
    whole = path.read_bytes()
    for name, data in [
        ("cut", whole[: len(whole) // 2]),
        ("header", whole[:100]),
        ("empty", b""),
        ("text", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("pickle", b"\x80\x02}q\x00."),
    ]:
        bad = tmp_path / f"{name}.safetensors"
        bad.write_bytes(data)
        for read in (load, read_header):
            with pytest.raises(CheckpointError, match=rf"{name}\.safetensors: is no safetensors"):
                read(bad)


def test_missing_folder_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: no such file"):
        load(tmp_path / "gone.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        load(tmp_path)
    save_file({"a": torch.ones(1)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match=r"other\.safetensors: holds weights but no facefac"):
        load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, r"format 2, this version reads 1; update facefactor"),
        ({"format": None}, r"format None"),
        ({"method": None}, r"lacks or misstates 'method'"),
        ({"spec": {"name": "x"}}, r"lacks or misstates 'factors'"),
        ({"spec": "words"}, r"lacks or misstates"),
    ],
)
def test_bad_headers(path: Path, changes: dict[str, object], message: str) -> None:
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=message):
        read_header(path)


@pytest.mark.parametrize("text", ["{not json", "[1, 2]"])
def test_headers_that_are_no_table(tmp_path: Path, text: str) -> None:
    save_file({"a": torch.ones(1)}, str(tmp_path / "a.safetensors"), {"facefactor": text})
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        read_header(tmp_path / "a.safetensors")


def test_what_is_not_finite_is_not_stored(tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match="weight layer holds NaN"):
        save(target, {"layer": torch.tensor([1.0, torch.nan])}, HEADER)
    with pytest.raises(
        CheckpointError, match=r"weight layer reaches 1e\+05, too large for float16"
    ):
        save(target, {"layer": torch.tensor([1.0, -1e5])}, HEADER, dtype="float16")
    assert not target.exists()


def test_a_full_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def half(tensors: object, target: str, metadata: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints, "save_file", half)
    with pytest.raises(WriteError, match=r"model\.safetensors: cannot be written"):
        save(path, network().state_dict(), HEADER)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["model.safetensors"]


def test_fill_puts_the_weights_in(path: Path) -> None:
    model = network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    fill(model, load(path)[1], path)
    assert hash_tensors(model.state_dict()) == read_header(path).sha256


def test_weights_of_another_model_are_named(path: Path) -> None:
    _, tensors = load(path)
    other = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(4), nn.Linear(2, 2))
    with pytest.raises(CheckpointError) as caught:
        fill(other, tensors, path)
    message = str(caught.value)
    assert "model.safetensors: is not of this model: lacks 2.bias" in message
    assert "0.weight (4, 3, 3, 3) for (5, 3, 3, 3)" in message
    with pytest.raises(CheckpointError, match=r"has unknown 0\.bias, .* and 5 more"):
        fill(nn.Identity(), tensors, path)
