"""The page in a real browser on the real server: real clicks, real files."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the web extra is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import sync_playwright

from facefactor.demo import portrait_paths
from facefactor.images import read_photo, read_timed_frames
from tests.made_clips import PITCH, heard, sounding_clip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium here (Debian: apt-get install chromium)", allow_module_level=True)

# Software WebGL for the mesh; the others keep it from asking other hosts at its start.
FLAGS = (
    "--no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic "
    "--no-first-run --disable-background-networking --disable-component-update --disable-sync"
).split()
PATIENCE = 120_000  # milliseconds; other work may hold the machine
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
FOUND = "text => document.querySelector('#found').innerText.includes(text)"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Of a server in a process of its own, which leaves nothing behind."""
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "facefactor", "serve", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[2]
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("http://127.0.0.1:"):
            break
    else:
        pytest.fail("".join(said))
    try:
        yield said[-1].strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert not list(folder.glob("facefactor-*")), "the server left photos behind"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address, request):
    """A fresh page; other hosts that it asks, and errors of its scripts, fail the test."""
    context = browser.new_context(viewport=getattr(request, "param", DESK))
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    elsewhere, broken = [], []
    opened.on(
        "request",
        lambda asked: (
            asked.url.startswith((address, "blob:", "data:")) or elsewhere.append(asked.url)
        ),
    )
    opened.on("pageerror", lambda error: broken.append(error))
    opened.goto(address)
    opened.wait_for_selector("#apply")
    yield opened
    context.close()
    assert not elsewhere and not broken


@pytest.fixture(scope="module")
def hopper(tmp_path_factory) -> Path:
    return write(tmp_path_factory, read_photo(portrait_paths()["Grace Hopper"])[:350, 100:420])


@pytest.fixture(scope="module")
def collins(tmp_path_factory) -> Path:
    return write(tmp_path_factory, read_photo(portrait_paths()["Eileen Collins"])[:260, 90:350])


def write(tmp_path_factory, photo) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    Image.fromarray(np.ascontiguousarray(photo)).save(path)
    return path


def give(page, photo: Path, found: str = "One face") -> None:
    page.set_input_files("#photo input[type=file]", photo)
    page.wait_for_function(FOUND, arg=found)


def choose(page, model: str, edit: str) -> None:
    page.locator("#model").get_by_text(model, exact=True).click()
    page.wait_for_timeout(300)
    page.locator("#edit input").click()
    page.get_by_role("option", name=edit, exact=True).click()


def apply(page, steps: int) -> None:
    """Press the button; until the history has so many steps."""
    page.click("#apply")
    page.wait_for_function(
        "count => document.querySelectorAll('#history .thumbnail-item').length == count", arg=steps
    )


def downloaded(page, part: str) -> bytes:
    with page.expect_download() as download:
        page.click(part)
    return Path(download.value.path()).read_bytes()


def picture(page):
    return np.asarray(Image.open(io.BytesIO(downloaded(page, "#picture"))))


sizes = pytest.mark.parametrize("page", [PHONE, DESK], indirect=True, ids=["phone", "desk"])


def fits(page) -> bool:
    """Whether nothing is beside the screen."""
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return wide <= shown


@sizes
def test_a_photo_is_edited_and_downloaded(page, hopper):
    give(page, hopper)
    apply(page, 2)
    page.wait_for_selector("#result img")
    photo, edited = read_photo(hopper), picture(page)
    assert edited.shape == photo.shape and (edited != photo).any()
    assert (edited[:20] == photo[:20]).all()  # the wall behind her
    assert fits(page)


def test_each_models_own_controls_are_shown(page, collins):
    give(page, collins)
    choose(page, "neurotensorial", "light from a lamp")
    azimuth = page.get_by_label("number input for azimuth")
    azimuth.wait_for()
    azimuth.fill("-60")
    azimuth.press("Enter")
    apply(page, 2)
    page.wait_for_function("document.querySelector('#history').innerText.includes('azimuth -60')")
    lit = picture(page).astype(float) - read_photo(collins)
    left, right = lit[60:150, 60:110].mean(), lit[60:150, 130:180].mean()
    assert left > right  # the light is on the photo's left now
    page.locator("#model").get_by_text("facecycle", exact=True).click()
    azimuth.wait_for(state="hidden")


def test_history_goes_back_and_on(page, hopper):
    give(page, hopper)
    apply(page, 2)
    first = picture(page)
    choose(page, "neurotensorial", "turn the head")
    yaw = page.get_by_label("number input for yaw")
    yaw.wait_for()
    yaw.fill("20")
    yaw.press("Enter")
    apply(page, 3)
    assert (picture(page) != first).any()
    page.locator("#history .thumbnail-item").nth(1).click()
    page.wait_for_timeout(3000)
    np.testing.assert_array_equal(picture(page), first)


def test_the_other_face_comes_from_a_second_photo(page, hopper, collins):
    give(page, hopper)
    choose(page, "facecycle", "expression of another face")
    page.wait_for_selector("#reference input[type=file]", state="attached")
    page.click("#apply")
    page.get_by_text("Give the other face").wait_for()
    page.set_input_files("#reference input[type=file]", collins)
    page.wait_for_selector("#reference img")
    apply(page, 2)
    assert (picture(page) != read_photo(hopper)).any()


def test_a_clip_makes_a_film(page, hopper, collins, tmp_path):
    face, clip = read_photo(collins), tmp_path / "clip.mp4"
    sounding_clip(clip, [np.roll(face, shift, axis=1) for shift in (0, 4, 8)], (0, 0.1, 0.3))
    give(page, hopper)
    choose(page, "facecycle", "expression of another face")
    page.set_input_files("#clip input[type=file]", clip)
    page.wait_for_selector("#clip .file-preview")
    page.click("#apply")
    film = page.locator("#film video")
    film.wait_for()
    made = tmp_path / "film.mp4"
    made.write_bytes(page.request.get(film.get_attribute("src")).body())
    frames = list(read_timed_frames(made))
    assert [round(seconds, 2) for _, seconds in frames] == [0, 0.1, 0.3]
    assert frames[0][0].shape == read_photo(hopper).shape
    assert heard(made)[1] == pytest.approx(PITCH, abs=5)


@sizes
def test_analysis_has_bars_axes_normals_and_a_mesh(page, collins):
    give(page, collins)
    page.get_by_role("tab", name="Analyse").click()
    page.click("#analyse")
    page.wait_for_selector("#views img")
    assert "happiness" in page.inner_text("#expression")
    assert "yaw" in page.inner_text("#angles") and page.locator("#axes img").count() == 1
    assert "frontal normals" in page.inner_text("#views")
    assert "expression: ipdfer" in page.inner_text("#told-by")
    codes = json.loads(downloaded(page, "#codes"))
    assert codes["model"] == "leed" and len(codes["codes"]["expression"]) == 128 * 8 * 8
    assert downloaded(page, "#mesh")[:4] == b"glTF"
    assert fits(page)
    canvas = page.locator("#solid canvas")
    canvas.scroll_into_view_if_needed()  # out of sight it is not drawn
    for _ in range(PATIENCE // 2000):
        drawn = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"))
        if drawn.std() > 20:
            break
        page.wait_for_timeout(2000)
    assert drawn.std() > 20, "the mesh is not drawn"


def test_of_several_faces_the_one_clicked_is_edited(page, hopper, tmp_path):
    one = read_photo(hopper)
    both = tmp_path / "both.png"
    Image.fromarray(np.hstack([one, one[:, ::-1]])).save(both)
    give(page, both, "2 faces")
    shown = page.locator("#people img")
    shown.wait_for()
    box = shown.bounding_box()
    shown.click(position={"x": box["width"] * 0.75, "y": box["height"] * 0.5})
    page.wait_for_timeout(3000)
    apply(page, 2)
    change = np.abs(picture(page).astype(int) - read_photo(both)).sum(axis=(0, 2))
    middle = one.shape[1]
    assert change[middle:].sum() > 0 and change[: middle - 20].sum() == 0


def test_what_is_no_photo_of_a_face_is_told(page, tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (200, 200), "grey").save(path)
    page.set_input_files("#photo input[type=file]", path)
    page.get_by_text("no face found").wait_for()
    page.click("#apply")
    page.get_by_text("Give a photo first").wait_for()
