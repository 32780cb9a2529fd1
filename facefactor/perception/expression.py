"""What an expression classifier has learnt to see: the features its last layer decides by."""

from __future__ import annotations

from pathlib import Path

from facefactor.perception.recognition import Recogniser, recogniser_of
from facefactor.perception.state_dicts import InstrumentError, read_state_dict

_PREFIX = "expression_encoder."  # in a weights file of IPD-FER, whose classifier is one more layer

PACKAGED = Path(__file__).parents[1] / "weights" / "ipdfer.safetensors"


def load_expression_encoder(path: Path | None = None) -> Recogniser:
    """The expression encoder of a trained IPD-FER, in eval mode: faces (N, 3, 112, 112) in [0, 1]
    of the crop "arcface" -> features (N, `code_size`), from which one linear layer tells the
    expression.

    Args:
        path: weights of an IPD-FER; None: those that come with the package.

    Raises:
        InstrumentError: nothing at `path`, or no weights of an IPD-FER.
    """
    if path is None and not PACKAGED.is_file():
        raise InstrumentError(
            f"{PACKAGED}: the weights of ipdfer do not come with this install; train it "
            "(facefactor train ipdfer) and name its file"
        )
    file = path or PACKAGED
    tensors = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in read_state_dict(file).items()
        if name.startswith(_PREFIX)
    }
    if not tensors:
        raise InstrumentError(
            f"{file}: no expression encoder here; expected the weights of an ipdfer (facefactor "
            "train ipdfer)"
        )
    return recogniser_of(tensors, file)
