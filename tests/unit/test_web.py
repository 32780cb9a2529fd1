"""The page: controls that follow from models, its sessions, and what of gradio is served."""

from __future__ import annotations

import inspect
import os
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("gradio", reason="the web extra is not installed")

from fastapi.testclient import TestClient

import facefactor
from facefactor import api, cli, server
from facefactor.demo import portrait_paths
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.images import read_photo
from facefactor.methods import METHODS
from facefactor.serving.desk import Desk, Limits, Shelf
from facefactor.serving.offers import offers
from facefactor.serving.session import Session, Step, boxed, face_at, follow
from tests.made_faces import made_face, noise

LIMITS = Limits()


@pytest.fixture(scope="module")
def collins():
    photo = read_photo(portrait_paths()["Eileen Collins"])
    return np.ascontiguousarray(photo[:260, 90:350])


class Made:
    """A model nobody knows: one factor that can be taken off, one that cannot."""

    spec = ModelSpec(
        "made",
        "facecycle",
        16,
        3,
        {
            "identity": FactorSpec((2,), "who it is"),
            "illumination": FactorSpec((3,), "how bright", covers=("expression",)),
        },
    )

    def encode(self, faces):
        mean = faces.mean((2, 3))
        return Factors({"identity": torch.zeros(len(faces), 2), "illumination": mean})

    def decode(self, factors):
        return factors["illumination"][:, :, None, None].expand(-1, -1, 16, 16)

    def neutral(self, name):
        if name == "identity":
            raise ValueError("a person cannot be left out")
        return torch.full((3,), 0.5)


# Offers


@pytest.fixture(scope="module")
def models():
    with torch.device("meta"):
        return {name: recipe.build(recipe.PRESETS["small"]) for name, recipe in METHODS.items()}


@pytest.mark.parametrize("method", METHODS)
def test_every_factor_a_method_declares_is_offered(method, models):
    model = models[method]
    found = offers(model)
    names = [offer.name for offer in found]
    assert len(set(names)) == len(names)
    for factor in model.spec.factors:
        (taken,) = [offer for offer in found if offer.name == f"{factor} of another face"]
        assert taken.reference and taken.film is not None
        assert model.spec.factors[factor].meaning in taken.about
    for offer in found:
        taken = {"face": None, "reference": None} | {one.name: 0.0 for one in offer.sliders}
        inspect.signature(offer.edit).bind(*taken.values())
        for one in offer.sliders:
            assert one.low <= one.value <= one.high and one.step > 0


def test_what_is_offered_follows_from_abilities(models):
    names = {method: {offer.name for offer in offers(model)} for method, model in models.items()}
    assert {"turn the head", "light from a lamp"} <= names["neurotensorial"]
    assert "pose strength" not in names["neurotensorial"]  # a rotation has angles
    assert "pose strength" in names["ipdfer"]
    assert names["nfgan"] == {"normalised face", "identity of another face"}
    assert names["facecycle"] & {"turn the head", "light from a lamp"} == set()


def test_a_model_nobody_knows_is_offered_too():
    strength, *others = offers(Made())
    assert strength.name == "illumination strength" and "It covers expression." in strength.about
    assert [one.name for one in others] == [
        "identity of another face",
        "illumination of another face",
    ]
    photo = np.full((60, 60, 3), 200, np.uint8)
    face = made_face(photo, 40)
    grey = strength.edit(face, None, strength=0.0)
    assert grey[30, 30] == pytest.approx(128, abs=1)
    np.testing.assert_allclose(strength.edit(face, None, strength=1.0), photo, atol=1)
    dark = made_face(np.full((60, 60, 3), 100, np.uint8), 40)
    taken = others[1].edit(face, dark, strength=0.5)
    assert taken[30, 30] == pytest.approx(150, abs=1)


def test_abilities_and_removable_factors(models):
    able = {name: api.abilities(model) for name, model in models.items()}
    assert able["neurotensorial"] == {"light", "angles", "shape"}
    assert able["ipdfer"] == {"expressions"} and able["nfgan"] == {"normalised"}
    assert able["facecycle"] == set()
    assert api.removable_factors(models["facecycle"]) == ("expression",)
    assert api.removable_factors(models["ipdfer"]) == ("expression", "pose") or set(
        api.removable_factors(models["ipdfer"])
    ) == {"expression", "pose"}


# Sessions


def step(photo, *sides) -> Step:
    return Step("photo", [made_face(photo, side) for side in sides], 0)


def test_a_session_goes_on_from_the_step_it_is_at():
    first, second, third = (step(noise(), 40) for _ in range(3))
    session = Session([first]).then(second)
    assert session.now is second
    session = session.at(0).then(third)
    assert list(session.steps) == [first, second, third] and session.now is third
    assert session.at(99).now is third and session.at(-1).now is first
    other = step(noise(), 30)
    changed = session.at(1).instead(other)
    assert list(changed.steps) == [first, other, third] and changed.now is other


def test_the_photo_itself_is_never_forgotten():
    session = Session([step(noise(), 40)])
    first = session.now
    for _ in range(40):
        session = session.then(step(noise(), 40))
    assert len(session.steps) == 24 and session.steps[0] is first
    large = np.zeros((5000, 10_000, 3), np.uint8)  # 50 megapixels
    session = Session([step(large, 40)])
    for _ in range(4):
        session = session.then(step(large, 40))
    assert len(session.steps) == 2 and session.place == 1


def test_a_click_means_the_nearest_face():
    faces = [
        SimpleNamespace(found=SimpleNamespace(box=box))
        for box in ((0, 0, 100, 100), (200, 0, 220, 20))
    ]
    assert face_at(faces, 90, 90) == 0
    assert face_at(faces, 210, 10) == 1
    assert face_at(faces, 190, 12) == 1  # one width of the small, 1.4 of the large


def test_boxes_show_which_face_is_chosen():
    photo = np.zeros((120, 100, 3), np.uint8)
    drawn = boxed(Step("photo", [made_face(photo, 40), made_face(photo, 80)], 1))
    assert tuple(drawn[60, 29]) == (255, 255, 255) and tuple(drawn[60, 9]) == (255, 140, 0)
    assert not photo.any()


def test_the_face_is_found_again_after_an_edit(collins):
    before = Step("photo", api.read_faces(collins, "all"), 0)
    moved = np.roll(collins, 10, axis=1)
    after = follow("moved", before, moved)
    shift = np.subtract(after.face.found.box, before.face.found.box)
    assert shift[0] == pytest.approx(10, abs=3) and after.photo is after.face.photo
    gone = follow("gone", before, noise(260, 260))
    assert gone.face.found is before.face.found and (gone.photo == noise(260, 260)).all()


# The page and what of gradio is served


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gradio")


@pytest.fixture(scope="module")
def page(folder):
    before = dict(os.environ)
    shelf = Shelf(["facecycle"])
    shelf.files = {"facecycle": "facecycle", "made": "made"}
    shelf._loaded["made"] = Made()
    app = server.application(shelf, Desk(LIMITS), LIMITS, folder)
    with TestClient(app, "http://127.0.0.1:7860", raise_server_exceptions=False) as client:
        yield client
    os.environ.clear()
    os.environ.update(before)


def parts(page, kind):
    return [one["props"] for one in page.get("/config").json()["components"] if one["type"] == kind]


def test_controls_are_drawn_for_every_offer(page):
    (models,) = parts(page, "radio")
    assert [name for name, _ in models["choices"]] == ["facecycle", "made"]
    drawn = [one["label"] for one in parts(page, "slider")]
    wanted = [
        slider.name
        for model in (api.load("facecycle"), Made())
        for offer in offers(model)
        for slider in offer.sliders
    ]
    assert drawn == wanted
    assert sum("how bright" in str(one.get("value")) for one in parts(page, "markdown")) == 2


def test_the_page_asks_no_other_host(page):
    """Fonts, scripts and styles come from here."""
    html = page.get("/").text
    assert "fonts.googleapis" not in html and "cdnjs" not in html
    assert "fonts.g" not in page.get("/theme.css").text
    assert page.get("/config").json()["analytics_enabled"] is False


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "pyproject.toml",
        "../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "http://127.0.0.1:7860/version",
        "https://example.com/",
        "//etc/passwd",
        "file:///etc/passwd",
        "a%00b",
    ],
)
def test_no_file_of_the_server_is_served_and_no_address(page, path):
    answer = page.get(f"/gradio_api/file={path}")
    assert answer.status_code in (403, 404)
    assert answer.json()["type"].startswith("urn:facefactor:")


def test_not_beside_the_folder_either(page, folder):
    beside = folder.parent / f"{folder.name}-beside.txt"
    beside.write_text("secret")
    for name in (str(beside), f"{folder}/../{beside.name}"):
        answer = page.get(f"/gradio_api/file={name}")
        assert answer.status_code == 403 and "secret" not in answer.text
    link = folder / "link.txt"
    link.symlink_to(beside)
    assert page.get(f"/gradio_api/file={link}").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://example.com/",
        "/gradio_api/process_recording",
        "/gradio_api/vibe-code",
        "/gradio_api/runs",
        "/monitoring",
        "/gradio_api/openapi.json",
        "/gradio_api/custom_component/1/client/component/x.js",
        "/nonsense",
    ],
)
def test_routes_the_page_does_not_need_are_not_there(page, path):
    assert page.get(path).status_code == 404
    assert page.post(path, json={}).status_code == 404


def asked(page, value):
    """As the page asks when a photo is given, `value` in its place."""
    config = page.get("/config").json()
    number = next(
        one["id"] for one in config["dependencies"] if [e[1] for e in one["targets"]] == ["change"]
    )
    body = {"data": [value], "fn_index": number, "session_hash": "s", "event_data": None}
    return page.post("/gradio_api/queue/join", json=body)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "http://127.0.0.1:7860/version", "https://example.com/a.png", 3, ["x"]]
)
def test_no_file_is_taken_for_an_upload_and_no_address_fetched(page, path):
    meta = {"_type": "gradio.FileData"}
    for value in ({"path": path, "meta": meta}, [{"deep": {"path": path, "meta": meta}}]):
        answer = asked(page, value)
        assert answer.status_code == 403 and answer.json()["type"] == "urn:facefactor:file"


def test_what_was_uploaded_is_taken(page, folder):
    answer = page.post("/gradio_api/upload", files={"files": ("a.png", b"x", "image/png")})
    (path,) = answer.json()
    assert path.startswith(str(folder))
    taken = asked(page, {"path": path, "meta": {"_type": "gradio.FileData"}})
    assert taken.status_code == 200 and "event_id" in taken.json()
    assert page.get(f"/gradio_api/file={path}").content == b"x"


def test_what_is_too_large_never_reaches_gradio(page):
    body = b'"' + b"x" * (2 * LIMITS.photo_bytes + 100_001) + b'"'
    assert page.post("/gradio_api/queue/join", content=body).status_code == 413
    parts = iter([body[:1000], body[1000:]])  # its length is not told
    answer = page.post("/gradio_api/queue/join", content=parts)
    assert answer.status_code == 413 and answer.json()["type"] == "urn:facefactor:request"


def test_garbage_is_refused(page):
    for body in (b"{", b"\xff", b"[" * 100_000):
        assert page.post("/gradio_api/queue/join", content=body).status_code == 403
    assert page.post("/gradio_api/queue/join", content=b"").status_code in (403, 422)


def test_gradio_itself_refuses_too(page):
    """Without our middleware before it: a file that was not uploaded is not."""
    gradio_app = next(route.app for route in page.app.routes if route.path == "")
    assert gradio_app.get_blocks().has_launched and not gradio_app.get_blocks().allowed_paths


def test_the_service_is_on_the_same_address(page):
    assert page.get("/health").json()["status"] == "ok"
    assert [one["name"] for one in page.get("/v1/models").json()] == ["facecycle", "made"]
    answer = page.get("/v1/nonsense")
    assert answer.status_code == 404 and answer.json()["type"] == "urn:facefactor:not-found"


# Where it is served


def test_a_taken_port_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(server.ServerError, match=f"127.0.0.1:{port}: cannot be served"):
            server.listen("127.0.0.1", port)


@pytest.mark.parametrize("token", ["", "short", "a b c d e f g", "x; Path=/; y", "käse" * 4])
def test_a_token_that_cannot_be_sent_is_refused(token):
    with pytest.raises(server.ServerError, match="token is not usable"):
        server.serve("127.0.0.1", 0, ["facecycle"], token)


def test_an_address_of_another_machine_is_told():
    with pytest.raises(server.ServerError, match="192.0.2.1"):  # kept for documentation
        server.listen("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.5", False),
        ("localhost.example", False),
    ],
)
def test_who_can_reach_an_address(host, local):
    assert server.is_local(host) is local


def test_the_address_to_open():
    assert server.address("127.0.0.1", 7860, None) == "http://127.0.0.1:7860/"
    assert server.address("::", 80, "s3cret") == "http://[::]:80/?token=s3cret"


@pytest.mark.parametrize(
    ("host", "given", "warned"), [("127.0.0.1", None, False), ("0.0.0.0", None, True)]
)
def test_other_hosts_need_a_token(host, given, warned, monkeypatch, caplog):
    seen = {}

    def application(shelf, desk, limits, folder, token):
        seen.update(token=token, folder=folder, there=folder.is_dir())

    class Server:
        def __init__(self, config):
            pass

        def run(self, sockets):
            seen["port"] = sockets[0].getsockname()[1]

    monkeypatch.setattr(server, "application", application)
    monkeypatch.setattr(server.uvicorn, "Server", Server)
    monkeypatch.setattr(server.uvicorn, "Config", lambda *_, **__: None)
    with caplog.at_level("INFO"):
        server.serve(host, 0, ["facecycle"], given)
    assert (seen["token"] is not None) is warned
    assert ("others can reach this machine" in caplog.text) is warned
    if warned:
        assert len(seen["token"]) >= 24 and seen["token"] in caplog.text
    assert seen["port"] > 0 and seen["there"] and not seen["folder"].exists()


# The verb


def test_the_verb_passes_what_it_is_given(monkeypatch):
    asked = []
    monkeypatch.setattr(server, "serve", lambda *given: asked.append(given))
    monkeypatch.setenv("FACEFACTOR_TOKEN", "from-the-environment")
    for words in (["serve"], ["serve", "--host", "::", "--port", "0", "-m", "a", "-m", "b"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 0
    assert asked == [
        ("127.0.0.1", 7860, [], "from-the-environment"),
        ("::", 0, ["a", "b"], "from-the-environment"),
    ]


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "facefactor.server", None)
    monkeypatch.delattr(facefactor, "server")
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve"])
    assert ended.value.code == 1 and "facefactor[web]" in capsys.readouterr().err


def test_gradio_is_imported_without_looking_through_its_own_source(monkeypatch):
    """Where gradio asks Python for the files of its classes no more, the service starts slowly."""
    import gradio.component_meta as made_by
    from gradio.components import Textbox

    looked = []
    monkeypatch.setattr(
        made_by, "extract_class_source_code", lambda *_: looked.append(1) or ("", 1)
    )
    monkeypatch.setattr(made_by, "create_pyi", lambda *_: "")
    with server._no_stubs():
        assert inspect.getfile(Shelf).endswith("desk.py")
        made_by.create_or_modify_pyi(Textbox, "Textbox", [])
    assert looked == []
    with pytest.raises(ValueError, match="class source code"):
        made_by.create_or_modify_pyi(Textbox, "Textbox", [])
    assert looked == [1]
