"""NFGAN: an autoencoder whose decoder draws the frontal, neutral face of whom it is shown.

Liu, Kumar, Ge, Yang, You and Jia, "Normalized Face Image Generation with Perceptron Generative
Adversarial Networks", ISBA 2018. `networks.py` holds Tables 1 to 3, `training.py` Algorithm 1,
`recipe.py` the published settings, `README.md` what the paper leaves open and what we chose.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facefactor.factors import FactorName, Factors, FactorSpec, ModelSpec
from facefactor.methods.nfgan.networks import CODE, IMAGE_SIZE

CROP = "facecycle"  # a key of `perception.align.CROPS`

_LUMINANCE = (0.299, 0.587, 0.114)


class NFGAN(nn.Module):
    """Enc and Dec of Fig. 2: all that is kept after training.

    Args:
        encoder: images (N, colours, 64, 64) in [0, 1] -> codes (N, 256).
        decoder: codes (N, 256) -> normalised images (N, colours, 64, 64) in [0, 1].
        colours: 1: the networks see and draw luminance, and decoded faces have three equal
            channels; 3: RGB.
    """

    luminance: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, colours: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.colours = colours
        self.register_buffer("luminance", torch.tensor(_LUMINANCE).view(3, 1, 1), persistent=False)
        self.spec = ModelSpec(
            name="nfgan",
            crop=CROP,
            image_size=IMAGE_SIZE,
            channels=3,
            factors={
                "identity": FactorSpec((CODE,), "who it is: all that the code tells (Sec. 3)")
            },
        )

    def encode(self, faces: Tensor) -> Factors:
        return Factors({"identity": self.encoder(self.seen(faces)).float()})

    def decode(self, factors: Factors) -> Tensor:
        """The normalised faces: frontal and neutral, however the faces encoded were."""
        return self.decoder(factors["identity"]).expand(-1, 3, -1, -1)

    def normalise(self, faces: Tensor) -> Tensor:
        """The frontal neutral faces x~ of the people seen, (N, 3, 64, 64) in [0, 1]."""
        return self.decode(self.encode(faces))

    def neutral(self, name: FactorName) -> Tensor:
        """There is none: a person cannot be left out, and decoding removes all else."""
        raise ValueError(
            f"nfgan has no neutral {name}; whatever it decodes is frontal and neutral already"
        )

    def seen(self, faces: Tensor) -> Tensor:
        """What the networks see of faces (N, 3, S, S): themselves, or luminance (N, 1, S, S)."""
        if self.colours == 3:
            return faces
        return (faces * self.luminance).sum(dim=1, keepdim=True)
