"""How far heads are turned, by the packaged landmark network."""

from __future__ import annotations

from torch import Tensor

from facefactor.data.crops import CroppedFaces
from facefactor.data.records import DataError
from facefactor.evaluation.floors import encode_faces
from facefactor.perception.head_pose import head_pose
from facefactor.perception.landmarks import load_landmark_network
from facefactor.perception.packaged import packaged_instrument
from facefactor.protocols.subject import Subject


def measure_yaw(subject: Subject, cut: CroppedFaces) -> Tensor:
    """Yaw in degrees, (N,), of faces that were cut for the subject; > 0 to the image's left.

    Raises:
        InstrumentError: the landmark network is not at hand.
        DataError: a face cannot be cut for it.
    """
    network = load_landmark_network(packaged_instrument("landmarks"))
    spec, faces = subject.header.spec, cut.faces
    if (spec.crop, spec.image_size) != (network.crop, network.image_size):
        again = subject.cut(cut.records, network.image_size, network.crop)
        if again.failures:
            path, reason = again.failures[0]
            raise DataError(f"{path}: {reason}; its head pose is needed")
        faces = again.faces
    return head_pose(encode_faces(network, faces).view(-1, 68, 2))[:, 0]
