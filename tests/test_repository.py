"""What must never be committed, and what the project's own files must agree on."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import facefactor

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "facefactor"
THIS = Path(__file__).resolve()
MEGABYTE = 1_000_000
PICTURES_AND_DATA = re.compile(
    r"\.(jpe?g|png|gif|webp|bmp|tiff?|pgm|ppm|avif|heic|mp4|mov|avi|mkv|webm"
    r"|npy|npz|parquet|mat|h5|pkl|pt|pth|ckpt|onnx|zip|tar|gz|7z|csv)$",
    re.IGNORECASE,
)
# Figures made of public-domain portraits, and drawn ones, live here; faces of research data do not.
PICTURE_FOLDERS = ("docs/",)
PERSONAL_PATHS = re.compile(r"(?<![\w.\-])(/work/|/root/|/home/\w+/|/Users/\w+/|[A-Z]:\\Users\\)")
INDEX_HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|--(extra-)?index-url|--find-links"
)


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout; what is committed cannot be told")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [file for file in files if file.exists()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for file in tracked():
        if file == THIS:
            continue
        try:
            found.append((file.relative_to(ROOT), file.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            pass  # weights and figures
    return found


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file}:{number}: {line.strip()}"
        for file, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_paths_of_one_machine() -> None:
    assert lines_with(PERSONAL_PATHS) == []


@pytest.mark.parametrize("line", ["see /work/shared/x", "cd '/root/a'", "/home/me/faces"])
def test_such_paths_would_be_seen(line: str) -> None:
    assert PERSONAL_PATHS.search(line)


@pytest.mark.parametrize("line", ["https://host/work/x", "docs/root/a", "runs/work/"])
def test_what_only_looks_like_one_is_not(line: str) -> None:
    assert not PERSONAL_PATHS.search(line)


def test_no_package_index_is_named() -> None:
    assert lines_with(INDEX_HOSTS) == []


def test_no_large_files() -> None:
    large = [str(file) for file in tracked() if file.stat().st_size > 20 * MEGABYTE]
    assert not large
    weights = [file for file in tracked() if file.suffix == ".safetensors"]
    assert sum(file.stat().st_size for file in weights) <= 64 * MEGABYTE


def test_no_pictures_or_data_but_figures_and_our_weights() -> None:
    names = [file.relative_to(ROOT).as_posix() for file in tracked()]
    stray = [
        name
        for name in names
        if PICTURES_AND_DATA.search(name) and not name.startswith(PICTURE_FOLDERS)
    ]
    assert not stray
    misplaced = [
        name
        for name in names
        if name.endswith(".safetensors") and not name.startswith("facefactor/weights/")
    ]
    assert not misplaced


def test_each_weight_file_has_a_card() -> None:
    weights = [file for file in tracked() if file.suffix == ".safetensors"]
    assert not [str(file) for file in weights if not file.with_suffix(".md").is_file()]


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_the_library_does_not_print_or_unpickle(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for name, call in calls(tree):
        if name == "print":
            assert file.parent.name == "cli", "the library logs, only the command line prints"
        if name == "torch.load":
            given = {word.arg: word.value for word in call.keywords}
            assert ast.unparse(given["weights_only"]) == "True"
        if name == "joblib.load":
            assert file.name == "mtcnn.py", "only the pinned arrays of the mtcnn wheel"
        assert name not in ("pickle.load", "pickle.loads", "eval", "exec")
        pickled = [word.value for word in call.keywords if word.arg == "allow_pickle"]
        assert all(ast.unparse(value) == "False" for value in pickled)


def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.]+", entry) for entry in entries)
    return {canonicalize_name(name): version for name, version in (e.split("==") for e in entries)}


def test_pins_name_no_cuda_packages() -> None:
    assert not [name for name in pins() if re.match(r"nvidia|cuda|triton", name)]


@pytest.mark.parametrize("extra", ["", "train", "web", "onnx", "test", "dev"])
def test_every_dependency_has_a_pin_within_its_range(extra: str) -> None:
    table = project()
    listed = table["optional-dependencies"][extra] if extra else table["dependencies"]  # type: ignore[index]
    for text in listed:  # type: ignore[attr-defined]
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins()[canonicalize_name(wanted.name)]), text


@pytest.mark.parametrize("banned", ["torchvision", "timm", "lpips", "tensorflow"])
def test_nothing_brings_what_does_not_load_beside_torch(banned: str) -> None:
    assert banned not in pins()


def test_the_version_is_one() -> None:
    assert project()["version"] == facefactor.__version__
