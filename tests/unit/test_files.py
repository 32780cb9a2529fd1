"""A written file is whole or not there."""

import errno
import os
from pathlib import Path

import pytest

from facefactor.errors import FaceFactorError
from facefactor.files import WriteError, atomic_path, file_version


def test_the_file_appears_when_the_block_ends_and_parents_are_made(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deeper" / "codes.parquet"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".parquet"
        temporary.write_text("whole")
        assert not target.exists()
        number = temporary.stat().st_ino
    assert target.stat().st_ino == number  # renamed: a copy would be half there for a while
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["codes.parquet"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(type(error)), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_full_disk_names_the_file_and_what_to_do(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    with (
        pytest.raises(WriteError, match=r"out\.png: cannot be written .*No space.*free space"),
        atomic_path(target) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_really_full_device(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="out"), atomic_path(tmp_path / "out") as temporary:
        temporary.symlink_to("/dev/full")
        with open(temporary, "w") as file:
            file.write("x" * 100_000)


def test_our_own_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FaceFactorError, match="^plain words$"), atomic_path(tmp_path / "a"):
        raise FaceFactorError("plain words")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(WriteError, match="cannot be written"),
        atomic_path(tmp_path / "file" / "out.png"),
    ):
        raise AssertionError("not reached")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="is a folder"), atomic_path(tmp_path):
        raise AssertionError("not reached")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no /dev/null on this system")
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(WriteError, match="not a regular file"), atomic_path("/dev/null"):
        raise AssertionError("not reached")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with atomic_path(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_the_longest_name_the_file_system_takes(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".png")
    with atomic_path(target) as temporary:
        temporary.write_text("x")
    assert target.exists()


def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_the_version_changes_with_what_is_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    assert file_version(file) == (-1, -1)
    file.write_text("one")
    os.utime(file, ns=(5, 7))
    assert file_version(file) == (3, 7)
    os.utime(file, ns=(5, 8))
    assert file_version(file) == (3, 8)
