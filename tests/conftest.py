"""What all tests share: where the real faces are, and which tests need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from facefactor.memory import keep_freed_memory

keep_freed_memory()  # as every command does
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: a thread each, and theirs
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("FACEFACTOR_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real faces, weights and clips that is never part of the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no real faces here; set FACEFACTOR_SHARED to the folder that has data/")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for `shared` is marked so, and `-m 'not shared'` leaves them all out."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)
