"""The REST service: what its routes answer, what they refuse, and how it says so."""

from __future__ import annotations

import asyncio
import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the web extra is not installed")
pytest.importorskip("multipart", reason="python-multipart of the web extra is not installed")

from fastapi.testclient import TestClient

from facefactor import api
from facefactor.demo import portrait_paths
from facefactor.images import read_photo
from facefactor.rest import service
from facefactor.serving.desk import (
    BusyError,
    Desk,
    Limits,
    Shelf,
    TooSlowError,
    UnknownModelError,
)
from facefactor.serving.gate import Gate
from tests.made_faces import noise

PROBLEM = "application/problem+json"
LOCAL = "http://127.0.0.1:7860"
LIMITS = Limits(photo_bytes=400_000, megapixels=0.2)


def png(photo) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    return buffer.getvalue()


def unpacked(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def same(photo, other):
    """But for the rounding of sums, whose order is the threads' own."""
    np.testing.assert_allclose(photo.astype(int), other.astype(int), atol=1)


def problem(answer, status: int, kind: str):
    """The problem of an answer that is one of this status and kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    told = answer.json()
    assert told["status"] == status and told["type"] == f"urn:facefactor:{kind}", told
    assert told["title"] and told["detail"]
    assert "Traceback" not in answer.text
    return told


@pytest.fixture(scope="module")
def photos():
    """Two heads, cut small so that finding them is quick."""
    hopper, collins = (read_photo(path) for path in portrait_paths().values())
    return np.ascontiguousarray(hopper[:350, 100:420]), np.ascontiguousarray(collins[:260, 90:350])


@pytest.fixture(scope="module")
def shelf():
    return Shelf()


def client(shelf, limits=LIMITS, token=None, desk=None, base_url=LOCAL):
    app = service(shelf, desk or Desk(limits), limits)
    app.add_middleware(Gate, limits=limits, token=token)
    return TestClient(app, base_url, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def asked(shelf):
    return client(shelf)


@pytest.fixture(scope="module")
def sent(photos):
    """The two photos as they are sent."""
    return png(photos[0]), png(photos[1])


# Answers


def test_every_verb_has_a_typed_route(asked):
    told = asked.get("/openapi.json").json()
    verbs = "encode express neutral transfer relight pose reconstruct verify".split()
    routes = {f"/v1/{verb}": {"post"} for verb in verbs}
    routes |= {"/v1/models": {"get"}, "/health": {"get"}, "/version": {"get"}}
    assert {path: set(kinds) for path, kinds in told["paths"].items()} == routes
    for verb in verbs:
        body = told["paths"][f"/v1/{verb}"]["post"]["requestBody"]["content"]
        assert list(body) == ["multipart/form-data"]


def test_health_and_version(asked):
    import facefactor

    assert asked.get("/health").json() == {"status": "ok", "running_or_waiting": 0}
    assert asked.get("/version").json() == {"facefactor": facefactor.__version__}


def test_models_say_what_they_separate(asked, shelf):
    told = {one["name"]: one for one in asked.get("/v1/models").json()}
    assert set(told) == {entry.name for entry in api.models()}
    for name, one in told.items():
        spec = shelf[name].spec
        assert list(one["factors"]) == list(spec.factors)
        for factor, about in one["factors"].items():
            assert tuple(about["shape"]) == spec.factors[factor].shape
            assert about["removable"] is (factor in api.removable_factors(shelf[name]))
    assert "expressions" in told["ipdfer"]["abilities"]
    assert "light" not in told["facecycle"]["abilities"]


def test_encode_gives_the_codes_of_the_model(asked, shelf, photos, sent):
    told = asked.post("/v1/encode", files={"photo": sent[0]}).json()
    face = api.read_face(photos[0])
    (seen,) = told["faces"]
    codes = api.encode_face(shelf["facecycle"], face).codes
    assert told["model"] == "facecycle" and set(seen["codes"]) == set(codes)
    for name, code in codes.items():
        np.testing.assert_allclose(
            seen["codes"][name], code.flatten().numpy(), rtol=1e-4, atol=1e-6
        )
    assert list(seen["box"].values()) == pytest.approx(face.found.box)


def test_express_tells_what_the_api_tells(asked, shelf, photos, sent):
    (seen,) = asked.post("/v1/express", files={"photo": sent[1]}).json()["faces"]
    told = api.expressions(shelf["ipdfer"], api.read_face(photos[1]))
    assert seen["expression"] == told.expression
    assert seen["probabilities"] == pytest.approx(dict(told.probabilities), abs=1e-5)
    assert sum(seen["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert seen["yaw_deg"] == pytest.approx(told.yaw_deg, abs=1e-3)


def test_neutral_is_the_photo_of_the_api(asked, shelf, photos, sent):
    answer = asked.post("/v1/neutral", files={"photo": sent[1]})
    wanted = api.neutral_face(shelf["leed"], api.read_face(photos[1]))
    same(unpacked(answer), wanted)
    raw = unpacked(asked.post("/v1/neutral", files={"photo": sent[1]}, data={"raw": "true"}))
    size = shelf["leed"].spec.image_size
    assert raw.shape == (size, size, 3)


def test_transfer_takes_from_the_source(asked, shelf, photos, sent):
    answer = asked.post(
        "/v1/transfer",
        files={"target": sent[0], "source": sent[1]},
        data={"factor": "expression", "strength": "1.5"},
    )
    faces = [api.read_face(photo) for photo in photos]
    wanted = api.transfer_face(shelf["leed"], *faces, ["expression"], 1.5)
    same(unpacked(answer), wanted)


def test_light_by_name_is_light_by_angles(asked, photos, sent):
    files = {"photo": sent[1]}
    named = unpacked(asked.post("/v1/relight", files=files, data={"light_from": "left"}))
    angles = unpacked(asked.post("/v1/relight", files=files, data={"azimuth": "60"}))
    same(named, angles)
    assert (named != photos[1]).any()


def test_pose_and_reconstruct(asked, photos, sent):
    files = {"photo": sent[1]}
    turned = unpacked(asked.post("/v1/pose", files=files, data={"yaw": "20"}))
    assert turned.shape == photos[1].shape and (turned != photos[1]).any()
    mesh = asked.post("/v1/reconstruct", files=files)
    assert mesh.headers["content-type"] == "model/gltf-binary" and mesh.content[:4] == b"glTF"
    numbers = asked.post("/v1/reconstruct", files=files, data={"kind": "npz"})
    with np.load(io.BytesIO(numbers.content), allow_pickle=False) as arrays:
        assert arrays["displacement"].shape == (9375, 3)


def test_verify_says_one_person_of_one_photo(asked, sent):
    told = asked.post("/v1/verify", files={"first": sent[1], "second": sent[1]}).json()
    assert told["similarity"] == pytest.approx(1, abs=1e-5)
    other = asked.post("/v1/verify", files={"first": sent[0], "second": sent[1]}).json()
    assert other["similarity"] < told["similarity"]


# What was sent is wrong


@pytest.mark.parametrize(
    ("verb", "data", "status", "kind"),
    [
        ("neutral", {"model": "nonsense"}, 404, "unknown-model"),
        ("neutral", {"model": "ipdfer"}, 200, ""),
        ("encode", {"model": "../facefactor/weights/facecycle.safetensors"}, 404, "unknown-model"),
        ("encode", {"face": "like:pyproject.toml"}, 422, "face"),
        ("encode", {"face": "7"}, 422, "no-face"),
        ("neutral", {"face": "all"}, 422, "unclear"),
        ("relight", {}, 422, "unclear"),
        ("relight", {"light_from": "left", "azimuth": "3"}, 422, "unclear"),
        ("relight", {"light_from": "nowhere"}, 422, "face-factor"),
        ("relight", {"light_from": "left", "model": "facecycle"}, 422, "factor"),
        ("relight", {"azimuth": "nan"}, 422, "request"),
        ("pose", {}, 422, "unclear"),
        ("pose", {"yaw": "120"}, 422, "request"),
        ("pose", {"yaw": "20", "model": "facecycle"}, 422, "factor"),
        ("reconstruct", {"kind": "exe"}, 422, "request"),
        ("reconstruct", {"model": "facecycle"}, 422, "face-factor"),
        ("express", {"model": "facecycle"}, 422, "face-factor"),
    ],
)
def test_what_cannot_be_done_is_a_problem(asked, sent, verb, data, status, kind):
    answer = asked.post(f"/v1/{verb}", files={"photo": sent[1]}, data=data)
    if status == 200:
        assert answer.status_code == 200
    else:
        problem(answer, status, kind)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "image"),
        (b"no image", "image"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 40, "image"),
        (png(noise()), "no-face"),
        (png(noise())[:500], "image"),
    ],
)
def test_bad_photos_are_named_by_their_field(asked, sent, content, kind):
    told = problem(asked.post("/v1/neutral", files={"photo": content}), 422, kind)
    assert told["field"] == "photo"
    files = {"target": sent[0], "source": content}
    assert problem(asked.post("/v1/transfer", files=files), 422, kind)["field"] == "source"


def jpeg(photo) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("whole", [png(noise()[:40, :40]), jpeg(noise())], ids=["png", "jpeg"])
def test_damaged_photos_end_in_results_or_problems(asked, whole):
    """Bytes changed, cut out, doubled; the same ones every time."""
    random = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 4):
            data[place] = random.integers(256)
        start, end = sorted(random.integers(0, len(data), 2))
        data = [data, data[:end], data[:start] + data[end:]][random.integers(3)]
        answer = asked.post("/v1/encode", files={"photo": bytes(data)})
        if answer.status_code != 200:
            assert answer.status_code in (413, 422), answer.text
            assert answer.headers["content-type"] == PROBLEM and answer.json()["field"] == "photo"


def test_what_is_no_request_is_a_problem(asked):
    problem(asked.post("/v1/neutral"), 422, "request")
    problem(asked.post("/v1/neutral", data={"photo": "../../etc/passwd"}), 422, "request")
    problem(asked.post("/v1/nonsense"), 404, "not-found")
    problem(asked.get("/v1/neutral"), 405, "method-not-allowed")
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert asked.post("/v1/neutral", content=b"garbage", headers=headers).status_code in (400, 422)


def test_an_error_of_ours_tells_nothing_of_the_inside(shelf, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(api, "models", broken)
    monkeypatch.setattr(api, "abilities", broken)
    answer = client(shelf).get("/v1/models")
    problem(answer, 500, "unforeseen")
    assert "secret" not in answer.text


# Limits


def test_too_many_bytes(asked):
    told = problem(
        asked.post("/v1/neutral", files={"photo": b"x" * 1_000_001}), 413, "too-large"
    )  # over what a request may have: told by its length
    assert "0.9 MB" in told["detail"]
    problem(asked.post("/v1/neutral", files={"photo": b"x" * 400_001}), 413, "too-large")


def test_too_many_bytes_without_a_length(asked):
    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        for _ in range(20):
            yield b"x" * 100_000

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = asked.post("/v1/neutral", content=endless(), headers=headers)
    assert answer.status_code == 413 and answer.headers["content-type"] == PROBLEM


def test_too_many_pixels_are_not_decoded(asked, monkeypatch):
    def decoded(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(api, "read_faces", decoded)
    content = png(np.zeros((500, 401, 3), np.uint8))  # 200,500 pixels, the limit is 200,000
    told = problem(asked.post("/v1/neutral", files={"photo": content}), 413, "too-large")
    assert "401x500" in told["detail"]


def test_beyond_the_places_is_429_and_too_long_504(shelf, sent, monkeypatch):
    limits = Limits(seconds=0.3, at_once=1, waiting=0)
    desk, go_on = Desk(limits), threading.Event()
    monkeypatch.setattr(api, "models", lambda: [])
    monkeypatch.setattr(Shelf, "names", property(lambda self: go_on.wait(20) and ()))
    with client(shelf, limits, desk=desk) as asking:
        problem(asking.get("/v1/models"), 504, "too-slow")
        answer = asking.get("/v1/models")  # the thread is still at it: its place is taken
        problem(answer, 429, "busy")
        assert answer.headers["retry-after"] == "1"
        go_on.set()
        until = time.monotonic() + 10
        while desk.taken and time.monotonic() < until:
            time.sleep(0.01)
        assert asking.get("/v1/models").json() == []


def test_the_desk_counts_its_places():
    async def play():
        desk, go_on = Desk(Limits(at_once=1, waiting=1, seconds=20)), threading.Event()
        running = [asyncio.create_task(desk.run(lambda: go_on.wait(20))) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError):
            await desk.run(lambda: True)
        with pytest.raises(BusyError):
            await desk.run(lambda: True)
        go_on.set()
        assert await asyncio.gather(*running) == [True, True]
        with pytest.raises(ZeroDivisionError):
            await desk.run(lambda: 1 / 0)
        for _ in range(200):
            if not desk.taken:
                break
            await asyncio.sleep(0.01)
        assert desk.taken == 0

    asyncio.run(play())


def test_waiting_counts_as_time():
    async def play():
        desk, go_on = Desk(Limits(at_once=1, waiting=5, seconds=0.1)), threading.Event()
        ran = []
        first = asyncio.create_task(desk.run(lambda: go_on.wait(20), 20))
        await asyncio.sleep(0.05)
        with pytest.raises(TooSlowError):
            await desk.run(lambda: ran.append(1))
        assert desk.taken == 1  # what never ran has given its place back
        go_on.set()
        await first
        assert not ran

    asyncio.run(play())


# Models


def test_a_model_is_loaded_once(monkeypatch):
    loads = []
    monkeypatch.setattr(api, "load", lambda name: loads.append(name) or object())
    shelf = Shelf(["somewhere/mine.safetensors", "leed"])
    assert shelf.names == ("mine", "leed")
    threads = [threading.Thread(target=shelf.__getitem__, args=("mine",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["somewhere/mine.safetensors"]
    with pytest.raises(UnknownModelError, match="there are mine, leed"):
        shelf["somewhere/mine.safetensors"]


# The gate


def test_only_local_names_are_served_without_a_token(shelf):
    for name in ("http://localhost:7860", "http://127.0.0.1", "http://[::1]:7860"):
        assert client(shelf, base_url=name).get("/version").status_code == 200
    for name in ("http://evil.example", "http://127.0.0.1.evil.example:7860"):
        problem(client(shelf, base_url=name).get("/version"), 421, "host")
    for header in ("[", "", "127.0.0.1@evil.example", "localhost.", "évil"):
        headers = {"host": header.encode("latin-1")}
        problem(client(shelf).get("/version", headers=headers), 421, "host")


def test_pages_elsewhere_may_not_ask(asked):
    assert asked.get("/version", headers={"origin": LOCAL}).status_code == 200
    for origin in ("http://evil.example", "null", "", "http://127.0.0.1:1", "http://["):
        problem(asked.get("/version", headers={"origin": origin}), 403, "origin")


def test_the_token_is_asked_for(shelf):
    asking = client(shelf, token="s3cret", base_url="http://photos.example")
    problem(asking.get("/version"), 401, "token")
    problem(asking.get("/version?token=s3cret"), 401, "token")  # the page alone takes it there
    assert asking.get("/health").status_code == 200
    for offered in ("Bearer nonsense", "Basic s3cret", "s3cret", "Bearer ", "Bearer s3cretä"):
        headers = {"authorization": offered.encode("latin-1")}
        problem(asking.get("/version", headers=headers), 401, "token")
    good = {"authorization": "Bearer s3cret"}
    assert asking.get("/version", headers=good).status_code == 200


def test_the_token_in_the_address_becomes_a_cookie(shelf):
    asking = client(shelf, token="s3cret", base_url="http://photos.example")
    problem(asking.get("/?token=nonsense"), 401, "token")
    answer = asking.get("/?token=s3cret", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert asking.get("/version").status_code == 200


def test_a_request_that_hangs_is_ended():
    """Straight at the middleware: a client that sends a part and then nothing."""
    parts = [{"type": "http.request", "body": b"x", "more_body": True}]

    async def receive():
        if parts:
            return parts.pop()
        await asyncio.sleep(30)

    async def reading(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    async def play():
        gate = Gate(reading, Limits(sending_seconds=0.05))
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/neutral",
            "headers": [(b"host", b"localhost")],
        }
        with pytest.raises(Exception, match="did not arrive whole") as caught:
            await gate(scope, receive, None)
        assert caught.value.status_code == 408

    asyncio.run(asyncio.wait_for(play(), 10))
