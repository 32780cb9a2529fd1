"""Tables of whole folders: by several processes, killed half-way, on Ray; always the same rows."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from facefactor import batch
from facefactor.batch import encode_files
from facefactor.demo import portrait_paths
from facefactor.engines import EngineError, do_all
from facefactor.images import read_photo, write_image
from facefactor.parts import PartsError
from facefactor.streams import list_inputs
from facefactor.videos import write_video
from tests.made_models import MeanColour

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small photos of two people, one of nobody, one that is no photo, and a clip."""
    top = tmp_path_factory.mktemp("photos")
    hopper, collins = (read_photo(path) for path in portrait_paths().values())
    faces = hopper[40:440, 60:460], collins[20:240, 115:335]
    small = [cv2.resize(face, (96, 96), interpolation=cv2.INTER_AREA) for face in faces]
    for number in range(12):
        write_image(top / f"{number:02d}.png", small[number % 2])
    write_image(top / "04.png", np.zeros((60, 60, 3), np.uint8))
    (top / "07.png").write_text("not a photo")
    write_video(top / "05.mp4", [small[0]] * 3, fps=5)
    return top


@pytest.fixture
def small_parts(monkeypatch):
    """So few files a part and a process that a small folder has several."""
    monkeypatch.setattr(batch, "FILES_A_PART", 2)
    monkeypatch.setattr(batch, "_WORTH_A_PROCESS", 2)


def encode(folder, output, model=None, **options):
    about = options.pop("about", {"model": "mean colour"})
    files = list_inputs([str(folder)])
    return encode_files(model or MeanColour(), files, output, "all", about, **options)


def rows(path):
    return pq.read_table(path).to_pylist()


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """The table that one process makes without interruption."""
    path = tmp_path_factory.mktemp("expected") / "codes.parquet"
    assert encode(folder, path).exit_code == 3
    return path


def same(found, wanted):
    """Equal but for rounding: a process with one thread may sum in another order."""
    assert [(r["file"], r["frame"], r["face"], r["error"]) for r in found] == [
        (r["file"], r["frame"], r["face"], r["error"]) for r in wanted
    ]
    for one, other in zip(found, wanted, strict=True):
        if other["error"] is None:
            assert one["identity"] == pytest.approx(other["identity"], abs=1e-3)
            assert one["left"] == pytest.approx(other["left"], abs=1e-2)


def test_the_rows_of_a_folder_are_in_the_order_of_its_files(folder, expected):
    found = rows(expected)
    names = [Path(row["file"]).name for row in found]
    assert names == sorted(names) and set(names) == {path.name for path in folder.iterdir()}
    assert [row["frame"] for row in found if row["file"].endswith(".mp4")] == [0, 1, 2]
    assert [Path(row["file"]).name for row in found if row["error"]] == ["04.png", "07.png"]
    assert not list(expected.parent.glob("*.parts"))


def test_a_killed_worker_is_an_error_and_several_processes_give_the_same_rows(
    folder, expected, tmp_path, small_parts
):
    out, done = tmp_path / "codes.parquet", []
    fatal = MeanColour(kill=tmp_path / "killed")
    with pytest.raises(EngineError, match="the same command goes on"):
        encode(folder, out, fatal, workers=2)
    assert not out.exists() and (tmp_path / "codes.parquet.parts").is_dir()
    outcome = encode(folder, out, fatal, workers=2, progress=lambda *told: done.append(told))
    same(rows(out), rows(expected))
    assert {Path(name).name for name in outcome.failed} == {"04.png", "07.png"}
    assert outcome.exit_code == 3 and not list(tmp_path.glob("*.parts"))
    assert done[-1] == (13, 13) and done == sorted(done)


SLOW = """
    import sys
    from pathlib import Path
    from facefactor import batch
    from facefactor.streams import list_inputs
    from tests.made_models import MeanColour
    if __name__ == "__main__":
        batch.FILES_A_PART = batch._WORTH_A_PROCESS = 2
        folder, output, workers = sys.argv[1:]
        files, model = list_inputs([folder]), MeanColour(pause=0.5)
        about = {"model": "mean colour"}
        batch.encode_files(model, files, Path(output), "all", about, workers=int(workers))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_half_way_a_run_goes_on_to_the_same_table(
    folder, expected, tmp_path, small_parts, workers
):
    out, script = tmp_path / "codes.parquet", tmp_path / "slow.py"
    script.write_text(textwrap.dedent(SLOW))
    command = [sys.executable, str(script), str(folder), str(out), str(workers)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    parts = tmp_path / "codes.parquet.parts"
    wait_for(lambda: len(list(parts.glob("[0-9]*"))) >= 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    wait_for(lambda: not any(running(int(child)) for child in children))  # nobody is left behind
    assert 2 <= len(list(parts.glob("[0-9]*"))) < 7
    told = []
    encode(folder, out, progress=lambda done, total: told.append(done))
    assert told[0] > 2  # files of the parts that were there, and of one more
    if workers == 1:
        whole = tmp_path / "whole.parquet"
        encode(folder, whole)
        assert pq.read_table(out).equals(pq.read_table(whole))
    same(rows(out), rows(expected))
    assert not parts.exists()


def wait_for(true, seconds=60):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def running(pid):
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_parts_of_another_run_are_refused_until_dropped(folder, expected, tmp_path, small_parts):
    out = tmp_path / "codes.csv"

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(folder, out, progress=stop)
    with pytest.raises(PartsError, match="differs in model; .* --restart"):
        encode(folder, out, about={"model": "another"})
    write_image(folder / "99.png", np.zeros((60, 60, 3), np.uint8))
    try:
        with pytest.raises(PartsError, match="differs in files, inputs"):
            encode(folder, out)
    finally:
        (folder / "99.png").unlink()
    told = json.loads((tmp_path / "codes.csv.parts" / "about.json").read_text())
    assert told["files"] == 13 and told["face"] == "all"
    encode(folder, out, about={"model": "another"}, restart=True)
    assert out.read_text().count("\n") == 1 + len(rows(expected))
    assert [path.name for path in tmp_path.iterdir()] == ["codes.csv"]


def test_few_photos_start_no_processes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("facefactor.engines._by_processes", None)  # would not be called in vain
    assert encode(folder, tmp_path / "codes.parquet", workers=8).exit_code == 3


def test_pieces_are_done_once_each_by_whoever(tmp_path):
    assert sorted(do_all(abs, [-3, -1, -2])) == [1, 2, 3]
    with pytest.raises(EngineError, match="no engine is called 'spark'; there are local, ray"):
        do_all(abs, [1], engine="spark")


def test_without_ray_its_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'facefactor\[cluster\]'"):
        list(do_all(abs, [1], engine="ray"))


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, two processors, where it is installed."""
    ray = pytest.importorskip(
        "ray", reason="no Ray here; pip install -e '.[cluster]'", exc_type=ImportError
    )
    ray.init(
        num_cpus=2,
        log_to_driver=False,
        logging_level="ERROR",
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield
    ray.shutdown()


def test_on_ray_the_rows_are_the_same(cluster, folder, expected, tmp_path, small_parts):
    out = tmp_path / "codes.parquet"
    outcome = encode(folder, out, workers=2, engine="ray")
    same(rows(out), rows(expected))
    assert {Path(name).name for name in outcome.failed} == {"04.png", "07.png"}


def test_a_worker_of_ray_that_is_killed_is_replaced(
    cluster, folder, expected, tmp_path, small_parts
):
    out = tmp_path / "codes.parquet"
    encode(folder, out, MeanColour(kill=tmp_path / "killed"), workers=2, engine="ray")
    assert (tmp_path / "killed").exists()
    same(rows(out), rows(expected))
