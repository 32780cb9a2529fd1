"""Which part may import which, and what importing must not cost. See docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "facefactor"
METHOD_FILES = sorted((PACKAGE / "methods").glob("*/*.py"))

FOR_ALL = {"errors", "files", "outcomes"}  # plain words and plain files: anybody's
VOCABULARY = {"factors", "stages", "images", "videos", "geometry"}  # layer 0
ALLOWED: dict[str, set[str]] = {  # part -> the parts it may import besides itself and FOR_ALL
    "errors": set(),
    "files": set(),
    "outcomes": set(),
    "factors": set(),
    "stages": set(),
    "images": {"videos"},
    "videos": set(),
    "geometry": set(),
    "nn": {"geometry"},
    "losses": {"geometry"},
    "editing": {"factors", "geometry"},
    "perception": {"nn", "geometry", "images", "videos"},
    "methods": {"factors", "stages", "nn", "geometry", "losses", "perception"},
    "data": {"factors", "images", "videos", "perception", "geometry"},
    "checkpoints": {"factors", "methods"},
    "training": {
        "nn",
        "geometry",
        "editing",
        "neutralising",
        "instruments",
        "factors",
        "stages",
        "methods",
        "data",
        "checkpoints",
        "images",
        "perception",
    },
    "instruments": {"stages", "nn", "geometry", "losses", "perception", "data"},
    "evaluation": {"factors", "editing", "losses", "data", "geometry", "perception", "images"},
    "photo_edits": {"factors", "editing", "images", "videos", "perception", "geometry"},
    "neutralising": {"factors", "editing", "geometry", "perception"},
    "sheets": {"images", "videos"},
    "abilities": {"factors", "editing", "methods"},
    "face_lighting": {"factors", "editing", "geometry", "abilities", "photo_edits"},
    "face_turning": {"factors", "editing", "geometry", "perception", "abilities", "photo_edits"},
    "reconstruction": {"factors", "geometry", "images", "perception"}
    | {"abilities", "photo_edits", "sheets"},
    "smoothing": set(),
    "following": {"images", "perception", "photo_edits", "face_verification"},
    "films": {"images", "photo_edits", "following", "smoothing"},
    "clips": {"factors", "editing", "geometry"}
    | {"abilities", "photo_edits", "reconstruction", "following", "smoothing"},
    "face_normalising": {"factors", "editing", "images", "perception", "abilities", "photo_edits"}
    | {"sheets", "sweeps"},
    "augmentation": {"factors", "images", "data", "abilities", "photo_edits", "streams"},
    "sweeps": {"factors", "images", "videos", "photo_edits", "sheets"},
    "face_expressions": {"factors", "images", "perception", "geometry", "photo_edits"},
    "face_verification": {"images", "perception", "photo_edits"},
    "streams": {"factors", "images", "videos", "photo_edits", "following"},
    "memory": set(),
    "engines": {"memory"},
    "preparing": {"data", "geometry", "images", "videos", "perception"} | {"engines", "following"},
    "parts": set(),
    "table_files": set(),
    "batch": {"factors", "videos", "perception", "photo_edits", "streams", "face_expressions"}
    | {"engines", "parts", "table_files"},
    "protocols": {"factors", "editing", "images", "perception", "data", "geometry"}
    | {"methods", "checkpoints", "evaluation", "abilities", "face_verification", "neutralising"}
    | {"engines", "nn"},
    "demo": {"factors", "editing", "images", "perception", "photo_edits", "sheets"}
    | {"face_lighting", "face_normalising", "face_turning", "reconstruction"},
    "doctor": {"checkpoints", "perception", "images"},
    "export": {"factors", "checkpoints", "photo_edits", "demo", "abilities", "neutralising"}
    | {"face_expressions", "streams"},
    "pose_axes": {"geometry", "images", "photo_edits", "face_expressions", "sheets"},
    "api": VOCABULARY
    | {"editing", "perception", "data", "methods", "checkpoints", "training", "geometry"}
    | {"evaluation", "photo_edits", "sheets", "batch", "protocols", "demo", "doctor"}
    | {"export", "streams", "face_expressions", "face_verification"}
    | {"abilities", "face_lighting", "face_turning", "reconstruction", "sweeps"}
    | {"clips", "films", "following", "face_normalising", "augmentation", "pose_axes"}
    | {"preparing", "nn"},
    "cli": {"api", "server", "memory"},
    "server": {"rest", "web", "serving", "memory"},
    "web": {"api", "serving"},
    "rest": {"api", "serving", "__init__"},
    "serving": {"api"},
    "__init__": {"api", "factors", "editing", "images"},
    "__main__": {"cli"},
}


BATCHES = "facefactor.data.samples"  # a training step names the kind of batch it takes, as a type


def part(module: str) -> str:
    """facefactor.data.crops -> data; in methods/, each method is a part: methods.facecycle."""
    names = module.split(".")[1:] or ["__init__"]
    if names[0] == "methods" and len(names) > 1 and names[1] != "__init__":
        return ".".join(names[:2])
    return names[0]


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module a file imports, anywhere in it; `from facefactor import x` counts as x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            assert node.module is not None
            if node.module in ("facefactor", "facefactor.methods"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def arrows() -> list[tuple[str, str]]:
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            if name.split(".")[0] == "facefactor":
                found.add((module_name(file), name))
    return sorted(found)


def may_import(importer: str, target: str) -> bool:
    source, goal = part(importer), part(target)
    if source == "methods" and importer.endswith("__init__"):
        return goal.split(".")[0] == "methods"  # the table of methods names them all
    allowed = ALLOWED[source.split(".")[0]] | FOR_ALL | {source}
    if source.startswith("methods."):
        if (importer, target) == (f"facefactor.{source}.training", BATCHES):
            return True
        return goal in allowed - {"methods"}  # never one another
    return goal in allowed or goal.split(".")[0] in allowed


@pytest.mark.parametrize(("importer", "target"), arrows())
def test_arrow_is_allowed(importer: str, target: str) -> None:
    assert may_import(importer, target), f"{importer} may not import {target}"


def test_every_part_has_a_row() -> None:
    parts = {part(module_name(file)).split(".")[0] for file in PACKAGE.rglob("*.py")}
    assert parts <= ALLOWED.keys()


def test_the_arrows_have_no_circle() -> None:
    settled: set[str] = set()
    remaining = dict(ALLOWED)
    while remaining:
        free = [name for name, targets in remaining.items() if targets <= settled]
        assert free, f"these import one another: {sorted(remaining)}"
        settled |= set(free)
        remaining = {name: rest for name, rest in remaining.items() if name not in settled}


@pytest.mark.parametrize(
    ("importer", "target", "allowed"),
    [
        ("facefactor.methods.leed.model", "facefactor.methods.nfgan.model", False),
        ("facefactor.methods.leed.model", "facefactor.methods.leed.losses", True),
        ("facefactor.methods.leed.model", "facefactor.methods.nfgan", False),
        ("facefactor.methods.leed.model", "facefactor.methods", False),
        ("facefactor.methods.leed.model", "facefactor.data.crops", False),
        ("facefactor.methods.leed.model", "facefactor.data.samples", False),
        ("facefactor.methods.leed.training", "facefactor.data.samples", True),
        ("facefactor.methods.leed.training", "facefactor.data.records", False),
        ("facefactor.methods.leed.model", "facefactor.editing", False),
        ("facefactor.methods.leed.model", "facefactor.files", True),
        ("facefactor.methods.__init__", "facefactor.methods.leed.recipe", True),
        ("facefactor.methods.__init__", "facefactor.data.crops", False),
        ("facefactor.checkpoints", "facefactor.methods", True),
        ("facefactor.evaluation.probes", "facefactor.methods.leed.model", False),
        ("facefactor.cli", "facefactor.images", False),
        ("facefactor.cli.photos", "facefactor.images", False),
        ("facefactor.cli.photos", "facefactor.cli.screen", True),
        ("facefactor.api.photos", "facefactor.cli.screen", False),
        ("facefactor.geometry.flow", "facefactor.factors", False),
        ("facefactor.instruments.landmarks.training", "facefactor.data.samples", True),
        ("facefactor.instruments.landmarks.training", "facefactor.methods.leed.model", False),
        ("facefactor.perception.landmarks", "facefactor.instruments.landmarks.recipe", False),
    ],
)
def test_the_rule_itself(importer: str, target: str, allowed: bool) -> None:
    assert may_import(importer, target) is allowed


@pytest.mark.parametrize(
    "line",
    [
        "import facefactor.data.crops",
        "from facefactor import data",
        "def f():\n from facefactor.data import x",
    ],
)
def test_every_form_of_import_is_seen(line: str) -> None:
    assert {part(name) for name in imported(ast.parse(line))} == {"data"}


def runtime_modules(file: Path) -> set[str]:
    """The modules a file imports, but for those under `if TYPE_CHECKING`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
            if node.test.id == "TYPE_CHECKING":
                node.body = []
    return set(imported(tree))


def runtime_imports(file: Path) -> set[str]:
    """The top-level packages among them."""
    return {name.split(".")[0] for name in runtime_modules(file)}


@pytest.mark.parametrize("file", METHOD_FILES, ids=lambda file: f"{file.parent.name}.{file.stem}")
def test_methods_know_batches_as_types_only(file: Path) -> None:
    assert BATCHES not in runtime_modules(file)


@pytest.mark.parametrize(
    "file",
    [file for file in METHOD_FILES if file.name in ("model.py", "losses.py")],
    ids=lambda file: f"{file.parent.name}.{file.stem}",
)
def test_models_and_losses_do_not_import_lightning(file: Path) -> None:
    assert not runtime_imports(file) & {"lightning", "pytorch_lightning"}


def test_lightning_is_imported_for_training_only() -> None:
    users = {file for file in PACKAGE.rglob("*.py") if "lightning" in runtime_imports(file)}
    misplaced = [
        str(file.relative_to(PACKAGE))
        for file in users
        if file.name != "training.py" and file.parent.name != "training"
    ]
    assert not misplaced


@pytest.mark.parametrize("banned", ["torchvision", "timm", "lpips", "mtcnn", "tensorflow"])
def test_what_does_not_load_beside_our_torch_is_not_imported(banned: str) -> None:
    users = [file for file in PACKAGE.rglob("*.py") if banned in runtime_imports(file)]
    assert not users


@pytest.mark.parametrize("module", ["facefactor", "facefactor.cli"])
def test_importing_does_not_load_torch(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print(sorted(sys.modules.keys() & {'torch', 'numpy', 'cv2', 'PIL', 'lightning', 'av'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_importing_the_api_loads_nothing_that_only_training_or_measuring_needs() -> None:
    """Kornia and scikit-learn take half a second each to import, Lightning takes several."""
    code = (
        "import sys, facefactor.api; "
        "print(sorted(sys.modules.keys() & {'kornia', 'lightning', 'sklearn', 'scipy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_doctor_can_be_asked_when_lightning_does_not_load() -> None:
    """A broken torchvision breaks lightning's import; telling so is what the doctor is for."""
    code = "import sys; sys.modules['lightning'] = None; import facefactor.doctor"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, timeout=60
    )
    assert done.returncode == 0, done.stderr
