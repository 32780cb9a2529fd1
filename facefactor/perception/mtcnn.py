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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facefactor.perception.frozen import Frozen

Photo = NDArray[np.uint8]  # (H, W, 3) RGB
Boxes = NDArray[np.float32]  # (K, 4) left, top, right, bottom

PYRAMID_FACTOR = 0.709  # about 1 / sqrt(2): each level has half the pixels of the one before
CELL, STRIDE = 12, 2  # P-Net looks at squares of 12 pixels, every 2
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
        max_side: longer photos are shrunk to this first, and `min_face` then counts pixels of the
            shrunk photo; keeps time and memory bounded.
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

    @torch.inference_mode()
    def detect(self, photo: Photo) -> list[DetectedFace]:
        """All faces of an RGB photo (H, W, 3) uint8, the largest first; [] where there is none."""
        height, width = photo.shape[:2]
        shrink = min(1.0, self.max_side / max(height, width))
        if shrink < 1:
            photo = _resize(photo, shrink)
        boxes = self._propose(photo)
        boxes = self._refine(photo, boxes)
        boxes, points, scores = self._finish(photo, boxes)

        # Rounding the shrunk size makes the two scales differ a little.
        scale = np.array([width / photo.shape[1], height / photo.shape[0]], np.float32)
        boxes = boxes * np.tile(scale, 2) - 0.5
        points = points * scale - 0.5
        faces = [
            DetectedFace((float(b[0]), float(b[1]), float(b[2]), float(b[3])), p, float(s))
            for b, p, s in zip(boxes, points, scores, strict=True)
        ]
        return sorted(faces, key=lambda face: face.area, reverse=True)

    def _propose(self, photo: Photo) -> Boxes:
        """P-Net over the pyramid: squares worth a closer look."""
        height, width = photo.shape[:2]
        found_boxes, found_scores = [np.empty((0, 4), np.float32)], [np.empty(0, np.float32)]
        scale = CELL / self.min_face
        while min(height, width) * scale >= CELL:
            level = _resize(photo, scale)
            regression, score = self.pnet(_to_input(level[None], self.device))
            score = torch.sigmoid(score[0, 1] - score[0, 0])  # softmax of two
            rows, columns = torch.nonzero(score > self.thresholds[0], as_tuple=True)
            corner = torch.stack([columns, rows], 1).float() * STRIDE
            boxes = _regress(
                torch.cat([corner, corner + CELL], 1), regression[0, :, rows, columns].T
            )
            boxes /= boxes.new_tensor([level.shape[1] / width, level.shape[0] / height]).repeat(2)
            kept_boxes, kept_scores = boxes.cpu().numpy(), score[rows, columns].cpu().numpy()
            keep = suppress(kept_boxes, kept_scores, 0.5)
            found_boxes.append(kept_boxes[keep])
            found_scores.append(kept_scores[keep])
            scale *= PYRAMID_FACTOR
        boxes_all, scores_all = np.concatenate(found_boxes), np.concatenate(found_scores)
        return boxes_all[suppress(boxes_all, scores_all, 0.7)]

    def _refine(self, photo: Photo, boxes: Boxes) -> Boxes:
        """R-Net on squares around the boxes: those it believes in, better placed."""
        if not len(boxes):
            return boxes
        squares = _squares(boxes)
        crops = _crops(photo, squares, 24)
        regression, score = self.rnet(_to_input(crops, self.device))
        probability = torch.sigmoid(score[:, 1] - score[:, 0]).flatten().cpu().numpy()
        boxes = _regress(torch.from_numpy(squares), regression.flatten(1).cpu()).numpy()
        sure = probability > self.thresholds[1]
        boxes, probability = boxes[sure], probability[sure]
        return boxes[suppress(boxes, probability, 0.7)]

    def _finish(self, photo: Photo, boxes: Boxes) -> tuple[Boxes, NDArray[Any], NDArray[Any]]:
        """O-Net: final boxes (K, 4), points (K, 5, 2) and probabilities (K,)."""
        if not len(boxes):
            return boxes, np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
        squares = _squares(boxes)
        crops = _crops(photo, squares, 48)
        regression, points, score = self.onet(_to_input(crops, self.device))
        probability = torch.sigmoid(score[:, 1] - score[:, 0]).flatten().cpu().numpy()
        boxes = _regress(torch.from_numpy(squares), regression.flatten(1).cpu()).numpy()
        # Five x, then five y, as fractions of the square.
        fractions = points.reshape(-1, 2, 5).transpose(1, 2).cpu().numpy()
        side = (squares[:, 2] - squares[:, 0])[:, None, None]
        placed = squares[:, None, :2] + fractions * side
        sure = probability > self.thresholds[2]
        boxes, placed, probability = boxes[sure], placed[sure], probability[sure]
        keep = suppress(boxes, probability, 0.7, of_smaller=True)
        return boxes[keep], placed[keep], probability[keep]


def suppress(
    boxes: Boxes, scores: NDArray[np.float32], overlap: float, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes to keep, the surest first.

    A box goes when a surer one that stays shares more than `overlap` with it: intersection over
    union, or with `of_smaller` over the smaller area of the two, which also removes boxes inside
    of others.
    """
    left, top, right, bottom = boxes.T
    area = (right - left) * (bottom - top)
    order, keep = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, order = order[0], order[1:]
        keep.append(best)
        width = np.minimum(right[best], right[order]) - np.maximum(left[best], left[order])
        height = np.minimum(bottom[best], bottom[order]) - np.maximum(top[best], top[order])
        shared = width.clip(0) * height.clip(0)
        if of_smaller:
            whole = np.minimum(area[best], area[order])
        else:
            whole = area[best] + area[order] - shared
        order = order[shared <= overlap * whole]
    return np.array(keep, np.intp)


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
            steps += [nn.Conv2d(before, channels, kernel), nn.PReLU(channels)]
            if pool:
                steps.append(nn.MaxPool2d(pool, 2, ceil_mode=True))  # "same" at the far edge
            before = channels
        self.trunk = nn.Sequential(*steps)
        self.heads = nn.ModuleList([nn.Conv2d(before, channels, 1) for channels in answers])

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.trunk(images)
        return [head(features) for head in self.heads]


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


def _resize(photo: Photo, scale: float) -> Photo:
    height, width = photo.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(photo, size, interpolation=how).astype(np.uint8, copy=False)


def _to_input(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(N, H, W, 3) -> (N, 3, H, W), [-1, 1]."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().sub(127.5).div(128)


def _regress(boxes: Tensor, shift: Tensor) -> Tensor:
    """Boxes (K, 4) with each edge moved by a fraction (K, 4) of the box's width or height."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + shift * size.repeat(1, 2)


def _squares(boxes: Boxes) -> Boxes:
    """The squares around the same centres as wide as each box's longer side, on whole pixels."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = np.rint((boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)).clip(1)
    corner = np.rint(centre - side / 2)
    return np.concatenate([corner, corner + side], 1).astype(np.float32)


def _crops(photo: Photo, squares: Boxes, size: int) -> NDArray[np.uint8]:
    """The squares cut out and resized, (K, size, size, 3); black outside of the photo."""
    height, width = photo.shape[:2]
    crops = np.zeros((len(squares), size, size, 3), np.uint8)
    for crop, (left, top, right, bottom) in zip(crops, squares.astype(int), strict=True):
        inside: NDArray[Any] = photo[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if not inside.size:
            continue
        if min(left, top) < 0 or right > width or bottom > height:
            padding = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
            inside = cv2.copyMakeBorder(inside, *padding, cv2.BORDER_CONSTANT)
        how = cv2.INTER_AREA if right - left > size else cv2.INTER_LINEAR
        cv2.resize(inside, (size, size), dst=crop, interpolation=how)
    return crops
