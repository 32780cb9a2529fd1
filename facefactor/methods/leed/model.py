"""LEED: an expression is what the code of a face has beyond the code of the same face, neutral.

Wu and Lu, "LEED: Label-Free Expression Editing via Disentanglement", ECCV 2020. `networks.py` holds
the networks, `training.py` the steps, `recipe.py` the settings, `README.md` what the paper leaves
open and what we chose.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facefactor.factors import FactorName, Factors, FactorSpec, ModelSpec
from facefactor.methods.leed.networks import CODE_SIDE, IMAGE_SIZE

CROP = (
    "facecycle"  # a key of `perception.align.CROPS`; "arcface" would cut an open mouth's chin off
)


class LEED(nn.Module):
    """All that is kept after training (Fig. 1). C is `code_channels`, codes are (N, C, 8, 8).

    Args:
        encoder: E, faces (N, 3, 128, 128) in [0, 1] -> codes.
        code_neutraliser: codes of faces -> codes of their neutral faces.
        extractor: X, codes of faces and of their neutral faces -> expressions.
        interpolator: I, codes of neutral faces and expressions -> codes.
        decoder: D, codes -> faces in [0, 1].
    """

    def __init__(
        self,
        encoder: nn.Module,
        code_neutraliser: nn.Module,
        extractor: nn.Module,
        interpolator: nn.Module,
        decoder: nn.Module,
        code_channels: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.code_neutraliser = code_neutraliser
        self.extractor = extractor
        self.interpolator = interpolator
        self.decoder = decoder
        self.code_shape = (code_channels, CODE_SIDE, CODE_SIDE)
        self.spec = ModelSpec(
            name="leed",
            crop=CROP,
            image_size=IMAGE_SIZE,
            channels=3,
            factors={
                "identity": FactorSpec(
                    self.code_shape,
                    "the neutral face: who it is, and the pose and light it is seen in (Sec. 3.2)",
                    covers=("pose", "illumination"),
                ),
                "expression": FactorSpec(
                    self.code_shape, "what the neutral face of the same photo lacks (Eq. 1)"
                ),
            },
        )

    def encode(self, faces: Tensor) -> Factors:
        """Where the paper draws neutral faces and encodes them, their codes are predicted."""
        codes = self.encoder(faces)
        return self._factors(codes, self.code_neutraliser(codes))

    def encode_beside(self, faces: Tensor, neutrals: Tensor) -> Factors:
        """As published: with neutral faces (N, 3, 128, 128) of the same photos, however made."""
        codes, neutral_codes = self.encoder(torch.cat([faces, neutrals])).chunk(2)
        return self._factors(codes, neutral_codes)

    def _factors(self, codes: Tensor, neutral_codes: Tensor) -> Factors:
        return Factors(
            {"identity": neutral_codes, "expression": self.extractor(codes, neutral_codes)}
        )

    def decode(self, factors: Factors) -> Tensor:
        """D(I(C_N, expression)): an expression times alpha is that much of it (Sec. 3.2)."""
        return self.decoder(self.interpolator(factors["identity"], factors["expression"]))

    def neutral(self, name: FactorName) -> Tensor:
        """Expressions are added, so none is zero; a person cannot be left out."""
        if name != "expression":
            raise ValueError(f"leed has no neutral {name}; it has one for expression")
        return torch.zeros(self.code_shape, device=next(self.parameters()).device)
