"""Faces in a photo: boxes and five points, by MTCNN (Zhang et al., 2016).

Three small networks in turn: P-Net proposes squares over an image pyramid, R-Net refuses most of
them, O-Net refuses more and finds the points. The trained weights are those of the `mtcnn` wheel,
which is read and never imported, because importing it needs TensorFlow.

Inside, coordinates run along pixel edges (pixel i spans i to i + 1), so that boxes scale without
offsets; `DetectedFace` has the photo's, pixel centres at integers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.perception.frozen import Frozen

Photo = NDArray[np.uint8]  # (H, W, 3) RGB
Boxes = NDArray[np.float32]  # (K, 4) left, top, right, bottom
Scores = NDArray[np.float32]

PYRAMID_FACTOR = 0.709  # about 1 / sqrt(2): each level has half the pixels of the one before
CELL, STRIDE = 12, 2  # P-Net looks at squares of 12 pixels, every 2
# Levels of the pyramid that a search for a large face does without; three quarters of the pixels.
_LEFT_OUT = 2
_SURELY = 1.5  # times the smallest face that the other levels see: none larger escaped them
# Where a face may have gone from one frame of a clip to the next: shares of its side, and sizes.
_AROUND = ((0.0, 0.0), (-0.2, 0.0), (0.2, 0.0), (0.0, -0.2), (0.0, 0.2))
_SCALES = (0.9, 1.15)
WEIGHTS_SHA256 = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One face: where it is in the photo, in its pixels (centres at integers)."""

    box: tuple[float, float, float, float]  # left, top, right, bottom; may leave the photo
    points: NDArray[np.float32]  # (5, 2): right eye (image left), left eye, nose, mouth corners
    confidence: float  # O-Net's probability, in [0, 1]

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


class FaceDetector:
    """MTCNN with its published settings.

    Args:
        min_face: side of the smallest face looked for, pixels of the photo; the time falls with
            its square.
        thresholds: least probability to pass P-Net, R-Net and O-Net.
        max_side: in photos longer than this, `min_face` grows in proportion; keeps time and memory
            bounded.
    """

    def __init__(
        self,
        min_face: float = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
        max_side: int = 1600,
        device: str | torch.device = "cpu",
    ) -> None:
        if min_face < CELL:
            raise ValueError(f"min_face is {min_face}; faces under {CELL} pixels are not seen")
        self.min_face, self.thresholds, self.max_side = min_face, thresholds, max_side
        self.device = torch.device(device)
        self.pnet = load_network("pnet").to(self.device)
        self.rnet = load_network("rnet").to(self.device)
        self.onet = load_network("onet").to(self.device)
        # Allocated and freed. The C library of Linux keeps freed memory for the next map only up to
        # twice the largest block freed so far, 32 MiB at most; otherwise each map is faulted in
        # again page by page, which took up to a fifth of the time.
        torch.empty(32_000_000, dtype=torch.uint8)

    @torch.inference_mode()
    def detect(self, photo: Photo) -> list[DetectedFace]:
        """All faces of an RGB photo (H, W, 3) uint8, the largest first; [] where there is none."""
        halvings = _halve(photo)
        return self._look_closer(halvings, self._propose(halvings))

    @torch.inference_mode()
    def detect_largest(self, photo: Photo) -> list[DetectedFace]:
        """The largest face of an RGB photo (H, W, 3) uint8, and maybe others; [] if there is none.

        Small faces are looked for only where there is no large one: two thirds of the time of
        `detect` on photos of 250 pixels.
        """
        halvings = _halve(photo)
        faces = self._look_closer(halvings, self._propose(halvings, _LEFT_OUT))
        surely_seen = _SURELY * self._smallest(halvings) / PYRAMID_FACTOR**_LEFT_OUT
        if faces and faces[0].area >= surely_seen**2:
            return faces
        return self._look_closer(halvings, self._propose(halvings))

    @torch.inference_mode()
    def detect_near(
        self, photo: Photo, box: tuple[float, float, float, float]
    ) -> list[DetectedFace]:
        """Faces of about the place and size of `box` (left, top, right, bottom), the largest first.

        R-Net and O-Net look there and a little around, P-Net at nothing: a fifth of the time of
        `detect` on frames of 480 pixels.
        """
        squares = _squares(np.array([box], np.float32) + 0.5)
        side = squares[0, 2] - squares[0, 0]
        centres = (squares[:, :2] + squares[:, 2:]) / 2 + side * np.array(_AROUND, np.float32)
        halves = side / 2 * np.array(_SCALES, np.float32)[:, None, None]
        near = np.concatenate([centres - halves, centres + halves], 2).reshape(-1, 4)
        return self._look_closer(_halve(photo), near)

    def _look_closer(self, halvings: list[Photo], boxes: Boxes) -> list[DetectedFace]:
        """The faces among boxes (K, 4), the largest first."""
        boxes = self._refine(halvings, boxes)
        faces = [
            DetectedFace(tuple((box - 0.5).tolist()), points - 0.5, float(score))
            for box, points, score in zip(*self._finish(halvings, boxes), strict=True)
        ]
        return sorted(faces, key=lambda face: face.area, reverse=True)

    def _smallest(self, halvings: list[Photo]) -> float:
        """Side of the smallest face looked for, pixels."""
        return self.min_face * max(1.0, max(halvings[0].shape[:2]) / self.max_side)

    def _propose(self, halvings: list[Photo], left_out: int = 0) -> Boxes:
        """P-Net over the pyramid, without its so many largest levels: squares worth a closer
        look."""
        height, width = halvings[0].shape[:2]
        scale = CELL / self._smallest(halvings) * PYRAMID_FACTOR**left_out
        found = [(np.empty((0, 4), np.float32), np.empty(0, np.float32))]
        while min(height, width) * scale >= CELL:
            level = _shrink(halvings, scale)
            regression, answer = self.pnet(_to_input(level[None], self.device))
            probability = _face_probability(answer)[0]
            rows, columns = torch.nonzero(probability > self.thresholds[0], as_tuple=True)
            corners = torch.stack([columns, rows], 1).float() * STRIDE
            cells = torch.cat([corners, corners + CELL], 1)
            boxes = _regress(cells, regression[0, :, rows, columns].T).cpu().numpy()
            # Rounding the level's size makes its two scales differ a little.
            boxes *= np.tile(np.divide((width, height), level.shape[1::-1], dtype=np.float32), 2)
            scores = probability[rows, columns].cpu().numpy()
            keep = suppress(boxes, scores, 0.5)
            found.append((boxes[keep], scores[keep]))
            scale *= PYRAMID_FACTOR
        boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return boxes[suppress(boxes, scores, 0.7)]

    def _refine(self, halvings: list[Photo], boxes: Boxes) -> Boxes:
        """R-Net on squares around the boxes: those it believes in, better placed."""
        boxes, scores, _ = self._inspect(self.rnet, halvings, _squares(boxes), 24)
        sure = scores > self.thresholds[1]
        boxes, scores = boxes[sure], scores[sure]
        return boxes[suppress(boxes, scores, 0.7)]

    def _finish(self, halvings: list[Photo], boxes: Boxes) -> tuple[Boxes, Scores, Scores]:
        """O-Net: boxes (K, 4), points (K, 5, 2) and probabilities (K,)."""
        squares = _squares(boxes)
        boxes, scores, points = self._inspect(self.onet, halvings, squares, 48)
        # Five x, then five y, as fractions of the square.
        fractions = points.reshape(-1, 2, 5).swapaxes(1, 2)
        points = squares[:, None, :2] + fractions * (squares[:, 2] - squares[:, 0])[:, None, None]
        sure = scores > self.thresholds[2]
        boxes, points, scores = boxes[sure], points[sure], scores[sure]
        keep = suppress(boxes, scores, 0.7, of_smaller=True)
        return boxes[keep], points[keep], scores[keep]

    def _inspect(
        self, network: Frozen, halvings: list[Photo], squares: Boxes, size: int
    ) -> tuple[Boxes, Scores, Scores]:
        """Regressed boxes (K, 4), probabilities (K,) and the answers between, if any, (K, 10)."""
        batches = np.array_split(squares, max(1, len(squares) // 128))  # bounds memory in crowds
        answers = [network(_to_input(_crops(halvings, b, size), self.device)) for b in batches]
        shift, *points, face = (torch.cat(parts).cpu() for parts in zip(*answers, strict=True))
        boxes = _regress(torch.from_numpy(squares), shift.flatten(1)).numpy()
        between = points[0].flatten(1) if points else face[:, :0, 0, 0]
        return boxes, _face_probability(face).flatten().numpy(), between.numpy()


def suppress(
    boxes: Boxes, scores: NDArray[np.float32], overlap: float, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes to keep, the surest first.

    A box goes when a surer one that stays shares more than `overlap` with it: intersection over
    union, or with `of_smaller` over the smaller area of the two, which also removes boxes inside
    of others.
    """
    order = np.argsort(-scores, kind="stable")
    keep = order[:0]
    for start in range(0, len(order), 256):  # in blocks: a crowd has 20,000 candidates
        block = order[start : start + 256]
        block = block[~_overlapping(boxes[keep], boxes[block], overlap, of_smaller).any(0)]
        beats = np.triu(_overlapping(boxes[block], boxes[block], overlap, of_smaller), k=1)
        # Each round settles at least one box more, in order of score; a few rounds settle all.
        stays = np.ones(len(block), np.bool_)
        while not np.array_equal(settled := np.logical_not(beats[stays].any(0)), stays):
            stays = settled
        keep = np.concatenate([keep, block[stays]])
    return keep


def _overlapping(
    first: Boxes, second: Boxes, overlap: float, of_smaller: bool
) -> NDArray[np.bool_]:
    """Which boxes (A, 4) and (B, 4) share more than `overlap`: (A, B)."""
    left, top, right, bottom = first.T[..., None]
    left2, top2, right2, bottom2 = second.T
    width = np.minimum(right, right2) - np.maximum(left, left2)
    height = np.minimum(bottom, bottom2) - np.maximum(top, top2)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area, area2 = (right - left) * (bottom - top), (right2 - left2) * (bottom2 - top2)
    whole = np.minimum(area, area2) if of_smaller else area + area2 - shared
    too_much: NDArray[np.bool_] = shared > overlap * whole
    return too_much


class _Network(nn.Module):
    """Convolutions with PReLU and pooling, then one 1x1 convolution per answer.

    Args:
        layers: (channels, kernel, pool) each; pool 0 is none, otherwise its window, stride 2.
        answers: channels of each head. Dense layers are convolutions over the whole map.
    """

    def __init__(self, layers: tuple[tuple[int, int, int], ...], answers: tuple[int, ...]) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        before = 3
        for channels, kernel, pool in layers:
            steps.append(nn.Conv2d(before, channels, kernel))
            steps.append(_NarrowPReLU(channels) if channels < 16 else nn.PReLU(channels))
            if pool:
                # "same" at the far edge
                steps.append(_MaxOfFour() if pool == 2 else nn.MaxPool2d(pool, 2, ceil_mode=True))
            before = channels
        self.trunk = nn.Sequential(*steps)
        self.heads = nn.ModuleList([nn.Conv2d(before, channels, 1) for channels in answers])

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.trunk(images)
        return [head(features) for head in self.heads]


class _NarrowPReLU(nn.PReLU):
    """PReLU for few channels; on a CPU, channels last in memory, in a fifth of the time.

    A row of pixels is taken for one pixel with many channels: the inner loop is that long.
    """

    def forward(self, maps: Tensor) -> Tensor:
        count, channels, height, width = maps.shape
        rows = maps.permute(0, 2, 3, 1).reshape(count * height, width * channels)
        rows = F.prelu(rows, self.weight.repeat(width))
        return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


class _MaxOfFour(nn.Module):
    """`nn.MaxPool2d(2, 2, ceil_mode=True)`; on a CPU, channels last, in a fifth of the time."""

    def forward(self, maps: Tensor) -> Tensor:
        for axis, beyond in ((2, (0, 0, 0, 1)), (3, (0, 1))):
            if maps.shape[axis] % 2:
                maps = F.pad(maps, beyond, value=-math.inf)
            maps = torch.maximum(*maps.unfold(axis, 2, 2).unbind(-1))
        return maps


_LAYERS = {
    "pnet": ((10, 3, 2), (16, 3, 0), (32, 3, 0)),
    "rnet": ((28, 3, 3), (48, 3, 3), (64, 2, 0), (128, 3, 0)),
    "onet": ((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0), (256, 3, 0)),
}
_ANSWERS = {"pnet": (4, 2), "rnet": (4, 2), "onet": (4, 10, 2)}  # box, [points], [no face, face]


def load_network(name: str) -> Frozen:
    """ "pnet", "rnet" or "onet" with the weights of the installed `mtcnn` wheel.

    The networks take RGB (N, 3, H, W) in [-1, 1]. RuntimeError where the wheel is missing or is
    not the one this was written for: then nothing of it is unpickled.
    """
    network = _Network(_LAYERS[name], _ANSWERS[name])
    arrays = iter(_read_arrays(name))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                out, into, height, width = module.weight.shape
                kernel = next(arrays)
                if kernel.ndim == 2:  # dense: columns run before rows, (W H C, out)
                    kernel = kernel.reshape(width, height, into, out).swapaxes(0, 1)
                kernel = kernel.transpose(3, 2, 0, 1)  # HWIO
                module.weight.copy_(torch.from_numpy(kernel.copy()))
                assert module.bias is not None
                module.bias.copy_(torch.from_numpy(next(arrays)))
            elif isinstance(module, nn.PReLU):
                module.weight.copy_(torch.from_numpy(next(arrays).reshape(-1)))
    return Frozen(network)


def _read_arrays(name: str) -> list[NDArray[np.float32]]:
    wheel = importlib.util.find_spec("mtcnn")
    if wheel is None or not wheel.submodule_search_locations:
        raise RuntimeError("the face detector's weights are missing; run: pip install mtcnn==1.0.0")
    path = Path(wheel.submodule_search_locations[0], "assets", "weights", f"{name}.lz4")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != WEIGHTS_SHA256[name]:
        raise RuntimeError(
            f"{path}: SHA-256 is {digest[:12]}…, not the {WEIGHTS_SHA256[name][:12]}… of mtcnn "
            "1.0.0; run: pip install --force-reinstall mtcnn==1.0.0"
        )
    # The only unpickling in the package: these very bytes, just checked.
    arrays: list[NDArray[np.float32]] = joblib.load(io.BytesIO(content))
    return arrays


def _halve(photo: Photo) -> list[Photo]:
    """The photo at 1, 1/2, 1/4 … of its size, a last odd row or column left out."""
    halvings = [photo]
    while min(halvings[-1].shape[:2]) >= 2 * CELL:
        last = halvings[-1]
        height, width = last.shape[0] // 2, last.shape[1] // 2
        even = last[: 2 * height, : 2 * width]
        half = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        halvings.append(half.astype(np.uint8, copy=False))
    return halvings


def _nearest(halvings: list[Photo], scale: float) -> int:
    """Which halving is the next one larger than `scale`: bilinear sampling of it does not alias."""
    return min(max(0, math.floor(math.log2(1 / scale))), len(halvings) - 1)


def _shrink(halvings: list[Photo], scale: float) -> Photo:
    height, width = halvings[0].shape[:2]
    size = max(CELL, round(width * scale)), max(CELL, round(height * scale))
    image = cv2.resize(halvings[_nearest(halvings, scale)], size, interpolation=cv2.INTER_LINEAR)
    return image.astype(np.uint8, copy=False)


def _to_input(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(N, H, W, 3) -> (N, 3, H, W) in [-1, 1], channels last in memory: pooling is faster so."""
    # Not in place: one image would keep numpy's stride 0 and not be seen as channels last.
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().sub(127.5).div(128)


def _face_probability(answer: Tensor) -> Tensor:
    """The softmax of (N, 2, H, W) for "face", (N, H, W)."""
    return torch.sigmoid(answer[:, 1] - answer[:, 0])


def _regress(boxes: Tensor, shift: Tensor) -> Tensor:
    """Boxes (K, 4) with each edge moved by a fraction (K, 4) of the box's width or height."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + shift * size.repeat(1, 2)


def _squares(boxes: Boxes) -> Boxes:
    """The squares around the same centres as wide as each box's longer side."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half_side = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True).clip(1) / 2
    return np.concatenate([centre - half_side, centre + half_side], 1)


def _crops(halvings: list[Photo], squares: Boxes, size: int) -> NDArray[np.uint8]:
    """The squares cut out and resized, (K, size, size, 3); black outside of the photo."""
    crops = np.empty((len(squares), size, size, 3), np.uint8)
    for crop, (left, top, right, _) in zip(crops, squares.tolist(), strict=True):
        half = _nearest(halvings, size / (right - left))
        step = (right - left) / size / 2**half  # pixels of the halving per pixel of the crop
        to_photo = np.array([[step, 0, left / 2**half], [0, step, top / 2**half]])
        to_photo[:, 2] += step / 2 - 0.5  # from pixel edges to pixel centres
        cv2.warpAffine(
            halvings[half],
            to_photo,
            (size, size),
            dst=crop,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
    return crops
