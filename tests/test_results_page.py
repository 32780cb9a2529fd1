"""The results page is of the weights that are packaged, and figures quoted elsewhere are its.

The page, `docs/results.md` with its figures in `docs/results.json`, is written by `facefactor
reproduce --all ... --page docs/results.md`. A figure in a README or a card that is marked, as in

    65.42 %<!-- ours: expression probe, published recipe :: rafdb :: facecycle :: accuracy -->

(protocol, data set, model and metric as on the page), must be the page's. A row of a table may be
marked as a whole, `*` for what its columns differ in:

    | these weights | 65.42 % | 61.10 % | <!-- row: expression probe :: rafdb :: facecycle :: * -->

Each of its decimal numbers must be one of those of the page, or the paper's.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from facefactor.checkpoints import packaged_weights, read_header

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "results.json"
QUOTING = [
    ROOT / "README.md",
    *sorted(ROOT.glob("facefactor/methods/*/README.md")),
    *sorted(ROOT.glob("facefactor/weights/**/*.md")),
]
MARKED = re.compile(
    r"(?P<value>-?[\d,]+(?:\.\d+)?)(?: ± (?P<spread>[\d.]+))?\s*(?:%|°|dB|px|mm|ms)?"
    r"\s*<!-- ours: (?P<key>[^>]*?) -->"
)
ANY_MARK = re.compile(r"<!-- ours:")
ROW = re.compile(r"<!-- row: (?P<key>[^>]*?) -->")
COMMENT = re.compile(r"<!--.*?-->")
DECIMAL = re.compile(r"-?\d[\d,]*\.\d+")

Figures = dict[tuple[str, ...], tuple[float | None, float | None]]


def figures(told: dict[str, Any]) -> Figures:
    """(protocol, data set, model, metric) -> value and spread, of all tables of a page.

    Floors are called alike beside every model, and differ by its crop and size: what stands beside
    the papers' figures counts, not what stands beside the last of the models compared.
    """
    groups = [*([told["comparison"]] if "comparison" in told else []), *told.get("papers", [])]
    return {
        (table["protocol"], table["dataset"], table["model"], score["metric"]): (
            score["value"],
            score["spread"],
        )
        for group in groups
        for table in group["tables"]
        for score in table["scores"]
    }


def wrong_figures(text: str, known: Figures) -> list[str]:
    """What a text quotes otherwise than the page has it, or the page does not have."""
    found = list(MARKED.finditer(text))
    wrong = []
    if len(found) != len(ANY_MARK.findall(text)):
        wrong.append("a mark stands behind no number, or says nothing")
    for mark in found:
        key = tuple(part.strip() for part in mark["key"].split("::"))
        if key not in known:
            wrong.append(f"{mark[0]}: not on the page")
            continue
        for quoted, value in zip((mark["value"], mark["spread"]), known[key], strict=True):
            if quoted is not None and quoted.replace(",", "") != _shown(value, quoted):
                wrong.append(f"{mark[0]}: the page has {value}")
    return wrong


def wrong_rows(text: str, known: Figures, papers: set[float]) -> list[str]:
    """Numbers of marked rows that neither the page has where the mark says nor a paper."""
    wrong = []
    for line in text.splitlines():
        for mark in ROW.finditer(line):
            key = [part.strip() for part in mark["key"].split("::")]
            there = [
                value
                for name, both in known.items()
                if all(part in ("*", own) for part, own in zip(key, name, strict=True))
                for value in both
            ]
            if not there:
                wrong.append(f"{mark[0]}: not on the page")
            for number in DECIMAL.findall(COMMENT.sub("", line)):
                bare = number.replace(",", "")
                if all(_shown(value, bare) != bare for value in (*there, *papers)):
                    wrong.append(f"{number} of {mark[0]}: not among its figures")
    return wrong


def published(told: dict[str, Any], file: Path) -> set[float]:
    """Figures of the paper of a method's README or card; beside other texts those of all papers."""
    papers = told.get("papers", [])
    own = [paper for paper in papers if paper["method"] in (file.stem, file.parent.name)]
    return {row["paper"] for paper in own or papers for row in paper["rows"]}


def _shown(value: float | None, like: str) -> str:
    """A value with as many decimals as the figure quoted."""
    return "" if value is None else f"{value:.{len(like.partition('.')[2])}f}"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    if not FIGURES.is_file():
        pytest.skip("docs/results.json has not been written yet (facefactor reproduce --all)")
    told: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return told


@pytest.mark.parametrize("file", QUOTING, ids=lambda file: str(file.relative_to(ROOT)))
def test_marked_figures_are_those_of_the_page(file: Path, page: dict[str, Any]) -> None:
    text = file.read_text(encoding="utf-8")
    assert not [mark for mark in COMMENT.findall(text) if "|" in mark]  # it would end a cell
    assert wrong_figures(text, figures(page)) == []
    assert wrong_rows(text, figures(page), published(page, file)) == []


def test_the_page_is_of_the_packaged_weights(page: dict[str, Any]) -> None:
    packaged = {file.stem: read_header(file).sha256 for file in packaged_weights()}
    measured = {
        each["model"]: each["sha256"] for paper in page["papers"] for each in paper["weights"]
    }
    assert measured == {name: packaged[name] for name in measured}
    assert measured, "the page is of no weights at all"


# The check itself

TOLD = {
    "papers": [
        {
            "tables": [
                {
                    "protocol": "probe",
                    "dataset": "rafdb",
                    "model": "facecycle",
                    "scores": [
                        {"metric": "accuracy", "value": 65.4172, "spread": None},
                        {"metric": "pairs", "value": 6000.0, "spread": 2.291},
                    ],
                }
            ]
        }
    ],
}


@pytest.mark.parametrize(
    "text",
    [
        "no mark, 12.3 %",
        "| 65.42 %<!-- ours: probe :: rafdb :: facecycle :: accuracy --> | 71.01 % |",
        "65.4 % <!-- ours: probe::rafdb::facecycle::accuracy -->",
        "6,000 ± 2.29 <!-- ours: probe :: rafdb :: facecycle :: pairs -->",
    ],
)
def test_right_figures_pass(text: str) -> None:
    assert wrong_figures(text, figures(TOLD)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("65.41 %<!-- ours: probe :: rafdb :: facecycle :: accuracy -->", "the page has 65.4172"),
        ("-65.42 %<!-- ours: probe :: rafdb :: facecycle :: accuracy -->", "the page has"),
        ("6000 ± 2.3 <!-- ours: probe :: rafdb :: facecycle :: pairs -->", None),
        ("6000 ± 2.4 <!-- ours: probe :: rafdb :: facecycle :: pairs -->", "the page has 2.291"),
        ("65.42 %<!-- ours: probe :: rafdb :: facecycle :: recall -->", "not on the page"),
        ("good<!-- ours: probe :: rafdb :: facecycle :: accuracy -->", "behind no number"),
    ],
)
def test_wrong_figures_are_told(text: str, reason: str | None) -> None:
    found = wrong_figures(text, figures(TOLD))
    assert found == [] if reason is None else reason in found[0]


def test_figures_beside_the_papers_count_before_the_comparison() -> None:
    told = json.loads(json.dumps(TOLD))
    told["comparison"] = json.loads(json.dumps(TOLD["papers"][0]))
    told["comparison"]["tables"][0]["scores"][0]["value"] = 50.0
    assert figures(told) == figures(TOLD)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            "| all 3 | 65.42 ± 0.31 % | 71.01 % | <!-- row: probe :: rafdb :: facecycle :: * -->",
            None,
        ),
        ("| 65.4 | 2.29 | <!-- row: probe :: * :: facecycle :: * -->", None),
        ("| 65.41 % | <!-- row: probe :: rafdb :: facecycle :: * -->", "65.41 of"),
        ("| 65.42 % | 2.29 | <!-- row: probe :: * :: * :: accuracy -->", "2.29 of"),
        ("| 65.42 % | <!-- row: probe :: lfw :: facecycle :: * -->", "not on the page"),
    ],
)
def test_marked_rows(row: str, reason: str | None) -> None:
    told = json.loads(json.dumps(TOLD))
    told["papers"][0]["tables"][0]["scores"][0]["spread"] = 0.314
    found = wrong_rows(row, figures(told), {71.01})
    assert (found == []) if reason is None else reason in found[0]
