"""Pages of results: text is text, and the HTML file needs no other."""

import re

import numpy as np

from facefactor.evaluation.tables import ResultTable, Score
from facefactor.images import write_image
from facefactor.protocols.pages import (
    Grid,
    Heading,
    Picture,
    Text,
    number,
    of_table,
    to_html,
    to_markdown,
)


def parts(tmp_path):
    write_image(tmp_path / "map.png", np.full((4, 4, 3), 200, np.uint8))
    return [
        Heading("a < b"),
        Text("say `facefactor reproduce`"),
        Grid([["row", "ours"], ["a|b", "1.50 ± 0.25 %"], ["<script>", "–"]]),
        Grid([["only", "a head"]]),
        Picture(tmp_path / "map.png", "<a> map"),
    ]


def test_markdown(tmp_path):
    text = to_markdown(parts(tmp_path))
    assert "| a\\|b | 1.50 ± 0.25 % |" in text and "## a < b" in text
    assert "only" not in text and "map.png" not in text


def test_html_is_escaped_and_needs_no_other_file(tmp_path):
    text = to_html("A & B", parts(tmp_path))
    assert "<title>A &amp; B</title>" in text and "<h2>a &lt; b</h2>" in text
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert "<code>facefactor reproduce</code>" in text
    assert '<td class="number">1.50 ± 0.25 %</td>' in text
    assert "<figcaption>&lt;a&gt; map</figcaption>" in text
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 1 and sources[0].startswith("data:image/png;base64,iVBOR")


def test_numbers():
    assert number(None) == "–"
    assert number(28.666, "°", 5.79) == "28.67 ± 5.79°"
    assert number(79.5, "%") == "79.50 %"
    assert number(12271, "photos") == "12,271 photos"


def test_columns_that_say_nothing_are_left_out():
    plain = ResultTable("p", "d", (Score("a", 1.0, "%"),), "m", 10, 0, "abc", ("landmarks",), "x y")
    text, grid = of_table(plain)
    assert text.text == "p on d: m; n = 10; seed 0; split abc; instruments: landmarks; `x y`"
    assert grid.rows == [["metric", "ours"], ["a", "1.00 %"]]
    published = ResultTable("p", "d", (Score("a", 1.0, "%", 3.0, None, 7), Score("b", None, "%")))
    assert of_table(published)[1].rows == [
        ["metric", "paper", "ours", "difference", "n"],
        ["a", "3.00 %", "1.00 %", "-2.00", "7"],
        ["b", "–", "–", "–", "–"],
    ]
