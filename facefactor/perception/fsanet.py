"""Head pose by FSA-Net (Yang et al., CVPR 2019): two networks of others, to compare ours with.

Their ONNX files (omasaht/headpose-fsanet-pytorch, MIT licence) lie in the user's folder of
instruments (`perception.instruments`). They were trained on 300W-LP and have its signs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facefactor.perception.instruments import find_weights
from facefactor.perception.state_dicts import InstrumentError

NETWORKS = ("fsanet-1x1", "fsanet-var")
SIDE = 64  # pixels
MARGIN = 0.25  # around the box of the landmarks, on each side, in its longer side


class FSANet:
    """Faces (N, 3, 64, 64), RGB in [0, 1] -> yaw, pitch, roll in degrees, (N, 3) float64.

    The mean of two networks. A face is a square around the box of its 68 landmarks, `MARGIN` wider
    on each side.

    Raises:
        InstrumentError: onnxruntime is not installed, a file is missing or no such network.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.sessions = [_open(find_weights(name, folder)) for name in NETWORKS]

    def __call__(self, faces: Tensor) -> Tensor:
        if faces.shape[1:] != (3, SIDE, SIDE):
            raise ValueError(f"faces must be (N, 3, {SIDE}, {SIDE}), got {tuple(faces.shape)}")
        blue_first = ((255 * faces.flip(1) - 127.5) / 128).float().numpy()
        angles = [
            np.mean([_angles(session, face[None]) for session in self.sessions], axis=0)
            for face in blue_first
        ]
        return torch.from_numpy(np.array(angles, np.float64)).reshape(len(faces), 3)


def _angles(session: Any, face: Any) -> Any:
    return session.run(None, {session.get_inputs()[0].name: face})[0][0]


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InstrumentError(
            f'{path} needs onnxruntime, which is not installed; run: pip install "facefactor[onnx]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # faces come one by one
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common class but this
        raise InstrumentError(f"{path}: no ONNX network, or cut off ({error})") from error
    taken = session.get_inputs()[0].shape
    if list(taken[1:]) != [3, SIDE, SIDE]:
        raise InstrumentError(f"{path}: takes pictures of {taken}, FSA-Net (1, 3, 64, 64)")
    return session
