import importlib.machinery
import shutil
from pathlib import Path

import av
import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
import torch

from facefactor.perception import mtcnn
from facefactor.perception.mtcnn import FaceDetector, load_network, suppress

# Read off the photos by eye: right eye (image left), left eye, nose tip, mouth corners.
HOPPER_POINTS = np.array([[223, 190], [308, 189], [267, 240], [231, 277], [306, 276]])
ASTRONAUT_POINTS = np.array([[204, 101], [246, 102], [225, 131], [203, 139], [248, 140]])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="module")
def hopper() -> np.ndarray:
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut()


def largest(detector, photo):
    return detector.detect(np.ascontiguousarray(photo))[0]


def interocular_error(points, truth) -> float:
    distance = np.linalg.norm(truth[0] - truth[1])
    return float(np.linalg.norm(points - truth, axis=1).mean() / distance)


def test_points_lie_on_the_portraits_features(detector, hopper, astronaut):
    face = largest(detector, hopper)
    assert face.confidence > 0.99
    assert interocular_error(face.points, HOPPER_POINTS) < 0.06
    assert interocular_error(largest(detector, astronaut).points, ASTRONAUT_POINTS) < 0.06


def test_box_holds_the_points_and_is_as_large_as_a_face(detector, astronaut):
    face = largest(detector, astronaut)
    left, top, right, bottom = face.box
    assert left < face.points[:, 0].min() and face.points[:, 0].max() < right
    assert top < face.points[:, 1].min() and face.points[:, 1].max() < bottom
    assert 70 < right - left < 110 and 90 < bottom - top < 140


def test_a_shifted_photo_shifts_the_points(detector, astronaut):
    face = largest(detector, astronaut[:320, :400])
    moved = largest(detector, np.pad(astronaut[:320, :400], ((64, 0), (32, 0), (0, 0)), "edge"))
    assert interocular_error(moved.points - [32, 64], face.points) < 0.03


def test_the_largest_face_is_the_same_whether_small_ones_are_looked_for(
    detector, hopper, astronaut, monkeypatch
):
    whole = FaceDetector._propose
    levels = []

    def propose(self, halvings, left_out=0):
        levels.append(left_out)
        return whole(self, halvings, left_out)

    monkeypatch.setattr(FaceDetector, "_propose", propose)
    small = cv2.resize(astronaut, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
    for photo, searches in ((hopper, 1), (astronaut, 1), (small, 2)):  # the last face is 35 wide
        levels.clear()
        found = detector.detect_largest(photo)[0]
        assert len(levels) == searches
        assert np.abs(found.points - detector.detect(photo)[0].points).max() < 0.5
    assert detector.detect_largest(np.zeros((100, 100, 3), np.uint8)) == []


def test_near_a_place_the_same_face_is_found(detector, astronaut):
    (face,) = detector.detect(astronaut)[:1]
    left, top, right, bottom = face.box
    side = right - left
    for shift in (0.0, 0.15 * side, -0.15 * side):
        near = detector.detect_near(astronaut, (left + shift, top, right + shift, bottom))
        assert np.abs(near[0].points - face.points).max() < 0.08 * side
    assert detector.detect_near(astronaut, (left + 3 * side, top, right + 3 * side, bottom)) == []


def test_a_mirrored_photo_mirrors_the_points(detector, astronaut):
    face = largest(detector, astronaut[:, ::-1])
    mirrored = np.array([511, 0]) + face.points[[1, 0, 2, 4, 3]] * [-1, 1]
    assert interocular_error(mirrored, ASTRONAUT_POINTS) < 0.07


def test_a_face_cut_by_the_border_is_found(detector, astronaut):
    assert interocular_error(
        largest(detector, astronaut[:, 195:]).points, ASTRONAUT_POINTS - [195, 0]
    )
    assert len(detector.detect(np.ascontiguousarray(astronaut[85:, 150:300]))) == 1


def test_a_huge_photo_is_searched_as_its_reduction(detector, astronaut):
    """51 megapixels, in bounded time; points keep the large photo's pixels."""
    huge = cv2.resize(astronaut, (7168, 7168), interpolation=cv2.INTER_LINEAR)
    face = largest(detector, huge)
    assert interocular_error((face.points + 0.5) / 14 - 0.5, ASTRONAUT_POINTS) < 0.06


def test_faces_come_largest_first(detector, hopper, astronaut):
    both = np.hstack([astronaut, hopper[:512]])
    faces = [face for face in detector.detect(both) if face.confidence > 0.95]
    assert len(faces) == 2
    assert interocular_error(faces[0].points, HOPPER_POINTS + [512, 0]) < 0.06
    assert faces[0].area > faces[1].area


def test_min_face_leaves_small_faces_out(astronaut):
    small = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)  # a face of 22 pixels
    assert FaceDetector(min_face=20).detect(small)
    assert not FaceDetector(min_face=50).detect(small)


def test_doubling_the_photo_doubles_every_coordinate(astronaut):
    """Pixels doubled and min_face doubled: the networks see the same levels and crops."""
    face = largest(FaceDetector(min_face=20), astronaut)
    doubled = largest(FaceDetector(min_face=40), astronaut.repeat(2, 0).repeat(2, 1))
    np.testing.assert_allclose(doubled.points, 2 * (face.points + 0.5) - 0.5, atol=1e-3)
    np.testing.assert_allclose(doubled.box, 2 * (np.array(face.box) + 0.5) - 0.5, atol=1e-3)


def test_in_long_photos_the_smallest_face_grows(astronaut):
    """The face is 86 pixels wide; a side of 512 held against 128 makes min_face 80, 32 320."""
    assert FaceDetector(min_face=20, max_side=128).detect(astronaut)
    assert not FaceDetector(min_face=20, max_side=32).detect(astronaut)


def test_crops_are_exact_where_they_meet_the_pixels(astronaut):
    squares = np.array([[5, 7, 29, 31], [100, 40, 148, 88], [-12, -12, 12, 12]], np.float32)
    same, halved, corner = mtcnn._crops(mtcnn._halve(astronaut), squares, 24)
    assert np.array_equal(same, astronaut[7:31, 5:29])
    blocks = astronaut[40:88, 100:148].reshape(24, 2, 24, 2, 3).mean((1, 3))
    np.testing.assert_allclose(halved, blocks, atol=0.51)
    assert np.array_equal(corner[12:, 12:], astronaut[:12, :12])
    assert not corner[:11].any() and not corner[:, :11].any()


def test_crops_between_the_pixels_read_a_ramp_right():
    """Column u of 24 over a square of side 36 has its centre 1.5 (u + 0.5) from the left edge."""
    ramp = np.tile((4 * np.arange(60, dtype=np.uint8))[None, :, None], (60, 1, 3))
    (crop,) = mtcnn._crops(mtcnn._halve(ramp), np.array([[10, 10, 46, 46]], np.float32), 24)
    expected = 4 * (10 + 1.5 * (np.arange(24) + 0.5) - 0.5)
    np.testing.assert_allclose(crop[12, :, 0], expected, atol=0.6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (12, 12), (19, 23), (24, 3000), (481, 637)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_empty_photos_of_any_shape_have_no_face(detector, shape, value):
    assert detector.detect(np.full((*shape, 3), value, np.uint8)) == []


def test_noise_has_no_face(detector):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    assert detector.detect(noise) == []


def test_faces_too_small_to_see_are_refused():
    with pytest.raises(ValueError, match="under 12 pixels"):
        FaceDetector(min_face=8)


def slow_suppress(boxes, scores, overlap, of_smaller):
    """The definition, one pair at a time."""
    keep = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        for j in keep:
            width = min(boxes[i][2], boxes[j][2]) - max(boxes[i][0], boxes[j][0])
            height = min(boxes[i][3], boxes[j][3]) - max(boxes[i][1], boxes[j][1])
            shared = max(0, width) * max(0, height)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[i], boxes[j])]
            if shared > overlap * (min(areas) if of_smaller else sum(areas) - shared):
                break
        else:
            keep.append(i)
    return keep


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("count", [0, 1, 40, 700])  # 700: more than two blocks
def test_suppression_agrees_with_its_definition(count, of_smaller):
    rng = np.random.default_rng(count)
    corner = rng.uniform(0, 100, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (count, 2))], 1).astype(np.float32)
    scores = rng.permutation(count).astype(np.float32)
    kept = suppress(boxes, scores, 0.5, of_smaller)
    assert kept.tolist() == slow_suppress(boxes.tolist(), scores, 0.5, of_smaller)


def test_a_suppressed_box_suppresses_nothing():
    """A row of three: the middle one goes for the first, so the third stays."""
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert suppress(boxes, np.array([3, 2, 1], np.float32), 0.3).tolist() == [0, 2]


def test_proposal_network_is_the_same_at_every_position():
    """The map over a large image holds what each 12-pixel square alone would get."""
    network = load_network("pnet")
    image = torch.rand(1, 3, 40, 30) * 2 - 1
    _, answer = network(image)
    _, alone = network(image[:, :, 8:20, 4:16])
    torch.testing.assert_close(answer[:, :, 4:5, 2:3], alone)


@pytest.mark.parametrize("shape", [(1, 10, 7, 9), (2, 10, 6, 9), (1, 10, 7, 8), (3, 10, 2, 2)])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_fast_layers_are_those_of_torch(shape, memory):
    maps = torch.randn(shape).contiguous(memory_format=memory)
    layer = mtcnn._NarrowPReLU(10)
    torch.nn.init.normal_(layer.weight)  # MTCNN has slopes below 0, too
    assert torch.equal(layer(maps), torch.nn.functional.prelu(maps, layer.weight))
    pooled = mtcnn._MaxOfFour()(maps)
    assert torch.equal(pooled, torch.nn.MaxPool2d(2, 2, ceil_mode=True)(maps))


def test_images_come_channels_last_even_alone(astronaut):
    """Otherwise the networks take longer by half."""
    image = mtcnn._to_input(astronaut[None], torch.device("cpu"))
    assert image.stride() == (3 * 512 * 512, 1, 3 * 512, 3)


def test_networks_are_frozen_and_gradients_reach_the_photo():
    network = load_network("onet")
    image = torch.rand(1, 3, 48, 48, requires_grad=True)
    network(image)[1].sum().backward()
    assert image.grad is not None and not any(p.requires_grad for p in network.parameters())


def fake_wheel(monkeypatch, folder: Path | None) -> None:
    spec = None
    if folder is not None:
        spec = importlib.machinery.ModuleSpec("mtcnn", None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(mtcnn.importlib.util, "find_spec", lambda name: spec)


def test_a_missing_wheel_says_what_to_install(monkeypatch):
    fake_wheel(monkeypatch, None)
    with pytest.raises(RuntimeError, match="pip install mtcnn==1.0.0"):
        load_network("pnet")


def test_other_bytes_are_not_unpickled(monkeypatch, tmp_path):
    (tmp_path / "assets").mkdir()
    real = mtcnn.importlib.util.find_spec("mtcnn").submodule_search_locations[0]
    shutil.copytree(Path(real, "assets", "weights"), tmp_path / "assets" / "weights")
    path = tmp_path / "assets" / "weights" / "pnet.lz4"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    fake_wheel(monkeypatch, tmp_path)
    monkeypatch.setattr(mtcnn.joblib, "load", lambda *_: pytest.fail("unpickled unknown bytes"))
    with pytest.raises(RuntimeError, match="pnet.lz4: SHA-256 is"):
        load_network("pnet")


def frames(path: Path, wanted: set[int]) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        decoded = enumerate(video.decode(video=0))
        return [f.to_ndarray(format="rgb24") for i, f in decoded if i in wanted]


def read(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.shared
def test_painted_faces_are_found_and_animals_refused(detector, shared):
    for name in ("s9.jpg", "s10.jpg"):
        (face,) = detector.detect(read(shared / "media" / name))
        assert face.confidence > 0.99
    for name in ("s38.jpg", "s39.jpg"):
        assert detector.detect(read(shared / "media" / name)) == []


@pytest.mark.shared
def test_one_face_in_each_frame_of_strong_expressions(detector, shared):
    for clip in ("d18.mp4", "d19.mp4"):
        for frame in frames(shared / "media" / clip, set(range(0, 210, 30))):
            (face,) = detector.detect(frame)
            assert face.confidence > 0.99


@pytest.mark.shared
def test_every_face_of_an_audience_in_profile_once(detector, shared):
    """Four people are lit in frame 240; where, read off the picture by eye."""
    (frame,) = frames(shared / "media" / "multi_face.mp4", {240})
    faces = detector.detect(frame)
    assert len(faces) == 4
    for x, y in [(78, 96), (191, 128), (357, 86), (417, 132)]:
        offsets = [(np.array(f.box[:2]) + f.box[2:]) / 2 - (x, y) for f in faces]
        assert min(np.abs(offset).max() for offset in offsets) < 15, (x, y)


@pytest.mark.shared
def test_points_agree_with_a_face_mesh_on_celebrities(detector, shared):
    """Eyes, nose tip and mouth corners of 68 landmarks; measured 4.3 % with 1 miss in 100."""
    with np.load(shared / "data" / "landmarks" / "CelebA-128.npz") as file:
        chosen = np.flatnonzero(file["found"])[::140][:100]
        names, landmarks = file["names"][chosen], file["landmarks68"][chosen, :, :2].astype(float)
    eyes = landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)
    truth = np.stack([*eyes, landmarks[:, 30], landmarks[:, 48], landmarks[:, 54]], 1)
    errors = []
    for name, points in zip(names, truth, strict=True):
        faces = detector.detect(read(shared / "data" / "CelebA-128" / "images" / name))
        errors += [min(interocular_error(face.points, points) for face in faces)] if faces else []
    assert len(errors) >= 97
    assert np.mean(errors) < 0.05
