"""Faces whose five points are where they are said to be: nobody has to find them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from facefactor import following, photo_edits
from facefactor.perception.align import crop_points
from facefactor.perception.mtcnn import DetectedFace
from facefactor.photo_edits import PhotoFace


def made_face(
    photo: NDArray[np.uint8], side: float, tilt_deg: float = 0.0, crop: str = "facecycle"
) -> PhotoFace:
    """A face in the middle of a photo, its crop `side` pixels wide, tilted clockwise."""
    height, width = photo.shape[:2]
    middle = np.array([width - 1, height - 1]) / 2
    tilt = np.deg2rad(tilt_deg)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])  # y down
    points = (crop_points(crop, 100) - 49.5) * side / 100 @ turn.T + middle
    low, high = middle - side / 2, middle + side / 2
    found = DetectedFace((*low, *high), points.astype(np.float32), 1.0)
    return PhotoFace("made.png", photo, found)


def noise(height: int = 120, width: int = 100) -> NDArray[np.uint8]:
    """A photo of no face, the same every time, away from black and white."""
    return np.random.default_rng(0).integers(60, 200, (height, width, 3)).astype(np.uint8)


class MadeFinder:
    """Finds the made face in the middle, wherever there is light; stands for the detector."""

    def __init__(self, side: float) -> None:
        self.side = side

    def detect(self, photo: NDArray[np.uint8]) -> list[DetectedFace]:
        return [made_face(photo, self.side).found] if photo.mean() > 20 else []

    def detect_largest(self, photo: NDArray[np.uint8]) -> list[DetectedFace]:
        return self.detect(photo)

    def detect_near(self, photo: NDArray[np.uint8], box: object) -> list[DetectedFace]:
        return self.detect(photo)


def use_finder(monkeypatch: pytest.MonkeyPatch, side: float) -> None:
    """Faces of photos and clips are made ones, `side` pixels wide."""
    for module in (photo_edits, following):
        monkeypatch.setattr(module, "face_detector", lambda: MadeFinder(side))
