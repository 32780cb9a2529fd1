"""How far heads are turned, by the packaged landmark network."""

from __future__ import annotations

from torch import Tensor

from facefactor.data.crops import CroppedFaces
from facefactor.data.records import DataError
from facefactor.perception.head_pose import head_pose
from facefactor.perception.packaged import packaged_landmarks
from facefactor.protocols.kept_codes import kept_codes, network_version
from facefactor.protocols.subject import Subject


def measure_yaw(subject: Subject, cut: CroppedFaces) -> Tensor:
    """Yaw in degrees, (N,), of faces that were cut for the subject; > 0 to the image's left.

    Raises:
        InstrumentError: the landmark network is not at hand.
        DataError: a face cannot be cut for it.
    """
    network = packaged_landmarks()
    spec, faces = subject.header.spec, cut.faces
    if (spec.crop, spec.image_size) != (network.crop, network.image_size):
        again = subject.cut(cut.records, network.image_size, network.crop)
        if again.failures:
            path, reason = again.failures[0]
            raise DataError(f"{path}: {reason}; its head pose is needed")
        faces = again.faces
    points = kept_codes(network, network_version(network), faces, subject.cache)
    return head_pose(points.view(-1, 68, 2))[:, 0]
