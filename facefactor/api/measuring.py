"""Models beside the figures of their papers, and beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from facefactor.api.named_values import named_values
from facefactor.checkpoints import packaged_weights
from facefactor.errors import FaceFactorError
from facefactor.outcomes import Progress
from facefactor.protocols import CACHE
from facefactor.protocols.compare import COMPARED, plan_comparison
from facefactor.protocols.published import PAPERS
from facefactor.protocols.report import Report, report_of
from facefactor.protocols.reproduce import check_readers, measure_all, plan_papers


def reproduce(
    method: str | None = None,
    data: Sequence[str] = (),
    models: Sequence[str] = (),
    morphable: str | Path | None = None,
    output: Path | None = None,
    page: Path | None = None,
    seed: int = 0,
    fresh: bool = False,
    cache: Path = CACHE,
    progress: Progress | None = None,
    workers: int | None = 1,
) -> Report:
    """The figures of a method's paper and ours beside them, a line for each published row.

    Rows whose data or weights are not named say what they need. What was measured once is kept
    below `cache`, so a call that was cut off goes on where it was. Of all methods the packaged
    weights are also compared, as by `compare`.

    Args:
        method: one of the five; None: all of them, with the weights that come with the package.
        data: "reader=folder" each.
        models: weights of the method or its variants, in place of the packaged ones.
        output: folder for `results.json`, `results.md` and `results.html`, pictures inside.
        page: a Markdown file for the same without pictures; its figures lie beside it as .json.
        fresh: measure anew what is kept.
        workers: processes that measure, each with one thread and up to 3 GB; None is as many as
            there are cores. More than one need a script to have `if __name__ == "__main__"`.

    Raises:
        FaceFactorError: an unknown method or reader, or weights of another method.
    """
    folders = {name: Path(folder) for name, folder in named_values(data).items()}
    check_readers(folders)
    file = Path(morphable) if morphable else None
    if method is None and models:
        raise FaceFactorError("weights are of one method; name it, or leave the weights out")
    papers = plan_papers([method] if method else list(PAPERS), folders, models, file, seed)
    there = [] if method else [each.stem for each in packaged_weights() if each.stem in PAPERS]
    runs = [run for each in papers for run in each.runs()]
    beside = None
    if there and (file or set(folders) & set(COMPARED)):
        beside = plan_comparison(there, folders, file)
        runs += beside.runs()  # it wants some of what papers do, so all is measured in one go
    kept, failed = measure_all(list(dict.fromkeys(runs)), seed, cache, fresh, progress, workers)
    command = f"facefactor reproduce {method or '--all'}" + _asked(folders, morphable)
    command += " --model FILE" * len(models)
    title = f"{method}: the paper's figures and ours" if method else "Results"
    found = [each.reproduction(kept, failed) for each in papers]
    comparison = beside.comparison(kept, failed) if beside else None
    return _written(report_of(title, command, found, comparison), output, page)


def compare(
    models: Sequence[str],
    data: Sequence[str] = (),
    morphable: str | Path | None = None,
    output: Path | None = None,
    page: Path | None = None,
    seed: int = 0,
    fresh: bool = False,
    cache: Path = CACHE,
    progress: Progress | None = None,
    workers: int | None = 1,
) -> Report:
    """Models side by side on the same faces: which factor each code tells, beside chance and
    floors; what drawings keep; speed and size. Arguments as for `reproduce`.

    Raises:
        FaceFactorError: no models or no faces, or an unknown reader.
    """
    folders = {name: Path(folder) for name, folder in named_values(data).items()}
    file = Path(morphable) if morphable else None
    plan = plan_comparison(models, folders, file)
    kept, failed = measure_all(plan.runs(), seed, cache, fresh, progress, workers)
    found = plan.comparison(kept, failed)
    command = f"facefactor compare {' '.join(models)}" + _asked(folders, morphable)
    return _written(report_of("Methods side by side", command, (), found), output, page)


def _asked(folders: Mapping[str, Path], morphable: str | Path | None) -> str:
    """The data of a command, without where they lie."""
    given = "".join(f" -d {name}=FOLDER" for name in folders)
    return given + (" --morphable FILE" if morphable else "")


def _written(report: Report, output: Path | None, page: Path | None) -> Report:
    if output is not None:
        report.write(output)
    if page is not None:
        report.write_page(page)
    return report
