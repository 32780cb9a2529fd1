"""StarGAN: one generator that redraws a photo with whatever label it is given.

Choi, Choi, Kim, Ha, Kim and Choo, "StarGAN: Unified Generative Adversarial Networks for
Multi-Domain Image-to-Image Translation", CVPR 2018. `networks.py` holds G and D, `training.py` the
step, `recipe.py` the published settings, `README.md` what the paper leaves open and what we chose.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.factors import FactorName, Factors, FactorSpec, ModelSpec
from facefactor.methods.stargan.networks import Discriminator, Generator


class StarGAN(nn.Module):
    """G, and D, whose classification head says which label a photo has.

    The label is all that is separated; all else stays in the photo, which is the residual.

    Args:
        classes: names of the K expressions, "neutral" among them, in the order of the labels.
        crop: a key of `perception.align.CROPS`; image_size: side S, pixels.
    """

    mean_face: Tensor
    faces_seen: Tensor

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        classes: tuple[str, ...],
        crop: str,
        image_size: int,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.classes = classes
        # what is drawn on where there is no photo; the mean of the faces trained on, at first grey
        self.register_buffer("mean_face", torch.full((3, image_size, image_size), 0.5))
        self.register_buffer("faces_seen", torch.zeros((), dtype=torch.int64))
        self.spec = ModelSpec(
            name="stargan",
            crop=crop,
            image_size=image_size,
            channels=3,
            factors={
                "expression": FactorSpec(
                    (len(classes),), "the label c, a share for each class (Sec. 3.1)"
                )
            },
        )

    def encode(self, faces: Tensor) -> Factors:
        """The label that D sees in each face, as probabilities, and the face itself."""
        return Factors({"expression": self.expression_probabilities(faces)}, {"photo": faces})

    def decode(self, factors: Factors) -> Tensor:
        """G(x, c): the photos with these labels; without photos, the mean face with them.

        Labels need not be one-hot, as trained on, nor sum to 1.
        """
        labels = factors["expression"]
        photos = factors.residual.get("photo")
        if photos is None:
            photos = self.mean_face.expand(len(labels), -1, -1, -1)
        return self.generator(photos, labels)

    def neutral(self, name: FactorName) -> Tensor:
        """The label "neutral", one-hot."""
        if name != "expression":
            raise ValueError(f"stargan has no neutral {name}; it has one for expression")
        return self.labels(["neutral"])[0]

    def labels(self, expressions: Sequence[str]) -> Tensor:
        """(N, K) one-hot codes of N expressions by name; KeyError, naming all, for an unknown one.

        What a true label becomes when photos are edited by label, as the paper does.
        """
        for name in expressions:
            if name not in self.classes:
                raise KeyError(f"no {name!r} here; stargan was built for {', '.join(self.classes)}")
        numbers = torch.tensor([self.classes.index(name) for name in expressions])
        return F.one_hot(numbers, len(self.classes)).to(self.mean_face)

    def expression_probabilities(self, faces: Tensor) -> Tensor:
        """(N, K) in the order of `classes`, rows summing to 1: D_cls of the faces."""
        _, logits = self.discriminator(faces)
        return logits.softmax(dim=1)

    @torch.no_grad()
    def average_in(self, faces: Tensor) -> None:
        """Let the mean face follow these, too: all faces ever given count alike."""
        self.faces_seen += len(faces)
        share = len(faces) / self.faces_seen.float()
        self.mean_face.lerp_(faces.float().mean(dim=0), share)
