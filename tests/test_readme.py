"""The commands and snippets of the README and the guides are ones this version understands."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import facefactor
from facefactor.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *ROOT.glob("README.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("facefactor/methods/*/README.md"),
    *ROOT.glob("facefactor/weights/*.md"),
]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")
SHELL = {"", "bash", "sh", "shell", "console", "text"}


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of every fenced block."""
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield found[1].lower(), found[2]


def shell_lines(text: str) -> Iterator[list[str]]:
    """The words of each command in a block: continued lines joined, pipes and comments cut off."""
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line.removeprefix("$ "), comments=True)
        except ValueError:  # program output with a lone quote
            continue
        cuts = [index for index, word in enumerate(words) if word in ("|", ">", "&&", ";", "2>")]
        if words:
            yield words[: cuts[0]] if cuts else words


def commands(text: str) -> list[list[str]]:
    return [words[1:] for words in shell_lines(text) if words[0] == "facefactor"]


def pages_with(program: str) -> list[tuple[str, list[str]]]:
    return [
        (str(page.relative_to(ROOT)), words[1:])
        for page in PAGES
        for language, text in blocks(page)
        if language in SHELL
        for words in shell_lines(text)
        if words[0] == program
    ]


def check_command(words: list[str]) -> None:
    """Parse a command line as the real one would, without running it."""
    command = typer.main.get_command(app)
    context = command.make_context("facefactor", list(words))
    rest = [*context._protected_args, *context.args]
    while isinstance(command, typer.core.TyperGroup):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = command.make_context(str(name), list(rest), parent=context)
        rest = [*context._protected_args, *context.args]


@pytest.mark.parametrize(("page", "words"), pages_with("facefactor"))
def test_every_command_line_is_understood(page: str, words: list[str]) -> None:
    if {"--help", "-h"} & set(words):
        return
    try:
        check_command(words)
    except Exception as error:  # typer's own click raises kinds that have no public name
        pytest.fail(f"{page}: facefactor {' '.join(words)}: {error}")


@pytest.mark.parametrize(("page", "words"), pages_with("make"))
def test_every_make_target_exists(page: str, words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets, page


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (str(page.relative_to(ROOT)), text)
        for page in PAGES
        for language, text in blocks(page)
        if language in ("python", "py")
    ],
)
def test_snippets_compile_and_use_public_names(page: str, text: str) -> None:
    tree = ast.parse(text, filename=page)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("ff", "facefactor")
    }
    assert used <= set(facefactor.__all__), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_figures_inside_the_repository_exist(page: Path) -> None:
    for found in LINK.finditer(page.read_text(encoding="utf-8")):
        target = (found[1] or found[2]).split("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


# The checks themselves


def test_commands_are_found_in_a_block() -> None:
    text = (
        "$ facefactor demo  # one sheet\nfacefactor neutral a.jpg \\\n  -o b.png | cat\nmake test\n"
    )
    assert commands(text) == [["demo"], ["neutral", "a.jpg", "-o", "b.png"]]


@pytest.mark.parametrize(
    "line",
    [
        "demo",
        "neutral me.jpg -o out.png",
        "transfer me.jpg --from friend.jpg --factor expression -o out.png",
        "models list",
        "models card facecycle",
        "data check faces --reader folder",
        "train facecycle --data celeba=faces --set learning_rate=5e-5",
    ],
)
def test_good_lines_pass(line: str) -> None:
    check_command(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "neutral me.jpg",
        "neutral me.jpg -o out.png --nonsense",
        "models nonsense",
        "models card",
        "train facecycle --data folder",
        "interpolate a.jpg b.jpg -o out.png --steps few",
    ],
)
def test_bad_lines_do_not(line: str) -> None:
    with pytest.raises(Exception, match="(?i)no such|missing|valid|not of the form"):
        check_command(line.split())
