"""FaceCycle: a face is a mean face, given an identity, moved by an expression.

Chang, Chen and Chiu, "Learning Facial Representations from the Cycle-consistency of Face",
ICCV 2021. `networks.py` holds the encoders and decoders, `training.py` the two stages,
`recipe.py` the published settings, `README.md` what the paper leaves open and what we chose.

Inside, images live in the ImageNet-normalised space in which the paper trains; faces in [0, 1]
come in through `to_images` and leave through `to_faces`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facefactor.factors import FactorName, Factors, FactorSpec, ModelSpec
from facefactor.geometry.flow import FlowInverse, Padding, compose_flows, invert_flow, warp
from facefactor.methods.facecycle.networks import (
    ExpressionDecoder,
    FaceEncoder,
    FlowDecoder,
    IdentityDecoder,
    ResidualEncoder,
)
from facefactor.nn.imagenet import ImageNetSpace


class FaceCycle(nn.Module):
    """All networks of Fig. 2.

    Args:
        stem: images (N, 3, H, W) -> maps at 1/2 and 1/4 (conv2_1 and conv3_1 of the paper).
        flow_inverse: how the backward flow comes from the forward one (Eq. 3).
        padding: what a warp reads outside the image; in the normalised space 0 is mean grey.
    """

    mean_face: Tensor

    def __init__(
        self,
        stem: nn.Module,
        expression_encoder: FaceEncoder | ResidualEncoder,
        flow_decoder: FlowDecoder,
        expression_decoder: ExpressionDecoder,
        identity_encoder: FaceEncoder | ResidualEncoder,
        identity_decoder: IdentityDecoder,
        flow_inverse: FlowInverse,
        padding: Padding,
        code_size: int = 256,
        image_size: int = 64,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.expression_encoder = expression_encoder
        self.flow_decoder = flow_decoder
        self.expression_decoder = expression_decoder
        self.identity_encoder = identity_encoder
        self.identity_decoder = identity_decoder
        self.flow_inverse: FlowInverse = flow_inverse
        self.padding: Padding = padding
        self.code_size = code_size
        self.space = ImageNetSpace()
        # the mean face over the training set; stage 2 follows it, decoding without a photo uses it
        self.register_buffer("mean_face", torch.zeros(3, image_size, image_size))
        self.spec = ModelSpec(
            name="facecycle",
            crop="facecycle",
            image_size=image_size,
            channels=3,
            factors={
                "identity": FactorSpec(
                    (code_size,),
                    "what a neutral face has and the mean face lacks (Sec. 1)",
                    owns=("neutral_face",),
                ),
                "expression": FactorSpec(
                    (code_size,),
                    "what moves a face away from its neutral face, head pose included (Sec. 1)",
                    covers=("pose",),
                ),
            },
        )

    def to_images(self, faces: Tensor) -> Tensor:
        """Faces in [0, 1] -> the normalised space of the networks."""
        images: Tensor = self.space(faces)
        return images

    def to_faces(self, images: Tensor) -> Tensor:
        """Network images -> RGB, not clamped, so that gradients survive at the ends."""
        return self.space.leave(images)

    def flows(self, expression: Tensor) -> tuple[Tensor, Tensor]:
        """Forward (face to neutral) and backward flow of codes (N, D); each (N, 2, h, w) (Eq. 3).

        The flow of the zero code is taken off: then zero is the neutral expression, exactly.
        """
        at_rest = self.flow_decoder(torch.zeros_like(expression[:1]))
        forward = (self.flow_decoder(expression) - at_rest).float().clamp(-1, 1)
        return forward, invert_flow(forward, self.flow_inverse)

    def express(self, images: Tensor, flow: Tensor | None) -> Tensor:
        """D_exp on the features of `images`, moved by `flow`; None redraws without motion."""
        return self.express_features(self.stem(images), flow)

    def express_features(self, features: list[Tensor], flow: Tensor | None) -> Tensor:
        """`express` where the stem's maps are already at hand."""
        half, quarter = features
        if flow is None:
            return self.expression_decoder(half, quarter)
        means = [maps.mean(dim=(2, 3), keepdim=True) for maps in features]
        half, quarter = (warp(maps, flow, self.padding) for maps in features)
        return self.expression_decoder(half, quarter, filling=means)

    def deidentify(self, neutral: Tensor, identity: Tensor) -> Tensor:
        """Neutral image -> mean face (Eq. 10, 11)."""
        return self.identity_decoder.deidentify(self.stem(neutral)[1], identity)

    def reidentify(self, mean_face: Tensor, identity: Tensor) -> Tensor:
        """Mean face -> neutral image of the person with code `identity` (Eq. 12)."""
        return self.identity_decoder.reidentify(self.stem(mean_face)[1], identity)

    def encode(self, faces: Tensor) -> Factors:
        codes = self.encode_codes(faces).codes
        forward, _ = self.flows(codes["expression"])
        neutral = self.express(self.to_images(faces), forward)
        return Factors(codes, {"neutral_face": self.to_faces(neutral).clamp(0, 1)})

    def encode_codes(self, faces: Tensor) -> Factors:
        """`encode` without the neutral face, which takes most of its time."""
        images = self.to_images(faces)
        return Factors(
            {
                "identity": self.identity_encoder(images),
                "expression": self.expression_encoder(images),
            }
        )

    def encode_code(self, faces: Tensor, name: FactorName) -> Tensor:
        """One factor's code alone: the other encoder does not run."""
        encoders = {"identity": self.identity_encoder, "expression": self.expression_encoder}
        return encoders[name](self.to_images(faces))

    def expression_map(self, faces: Tensor) -> Tensor:
        """The last convolution map of E_exp, flattened: (N, 6272) of faces (N, 3, 100, 100).

        What the released code's probe of expressions reads, in place of the code.
        """
        return self.expression_encoder.maps(self.to_images(faces)).flatten(1)

    def decode(self, factors: Factors) -> Tensor:
        """Re-expression of the neutral face (Eq. 6); without one, of the mean face given the
        identity (Eq. 12)."""
        expression = factors["expression"]
        if "neutral_face" in factors.residual:
            neutral = self.to_images(factors.residual["neutral_face"])
        else:
            mean_face = self.mean_face.expand(len(expression), -1, -1, -1)
            neutral = self.reidentify(mean_face, factors["identity"])
        _, backward = self.flows(expression)
        return self.to_faces(self.express(neutral, backward)).clamp(0, 1)

    def neutral(self, name: FactorName) -> Tensor:
        """The zero code: no motion. A person cannot be left out."""
        if name != "expression":
            raise ValueError(f"facecycle has no neutral {name}; it has one for expression")
        return torch.zeros(self.code_size, device=self.mean_face.device)

    def edit_flow(self, before: Factors, after: Factors) -> Tensor:
        """Flow that takes the photo's own pixels to the edited face, (N, 2, h, w).

        The photo goes to its neutral face by the forward flow, from there by the backward flow of
        the new expression; an edit that changes nothing gives zero.
        """
        forward, undone = self.flows(before["expression"])
        _, backward = self.flows(after["expression"])
        there_and_back = compose_flows(forward, undone)
        return compose_flows(forward, backward) - there_and_back
