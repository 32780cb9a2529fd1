"""The proof of concept of Sec. 4: no light, no mask, no background; faces on plain ground.

Two networks. That of Fig. 3a sees frontal faces: the 2-way synthesis of expression and identity is
projected to an image. That of Fig. 3b sees turned ones: the synthesis is rotated and goes through a
convolutional decoder. Both give texture from identity alone, and coefficients of the morphable
model the faces were rendered with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facefactor.factors import FactorName, Factors, FactorSpec, ModelSpec
from facefactor.geometry.rotations import nearest_rotation
from facefactor.methods.neurotensorial.model import (
    EXPRESSION,
    HIDDEN,
    IDENTITY,
    POSE,
    as_matrix,
)
from facefactor.methods.neurotensorial.networks import Encoder, UpsamplingDecoder, code_head
from facefactor.methods.neurotensorial.tensors import rotate, synthesis


class ProofOfConcept(nn.Module):
    """Fig. 3a, or with `turns` Fig. 3b.

    Args:
        encoder: faces (N, 3, S, S) -> z_i (N, 128), and places that nobody asks for here.
        image_decoder: synthesised features (N, 1200) -> faces (N, 3, S, S) in [-1, 1].
        texture_decoder: identity (N, 80) -> unfolded texture (N, 3, S, S) in [-1, 1].
        turns: whether there is a pose code, which rotates the features.
    """

    neutral_expression: Tensor

    def __init__(
        self,
        encoder: Encoder,
        image_decoder: nn.Module,
        texture_decoder: UpsamplingDecoder,
        expression_modes: int,
        identity_modes: int,
        turns: bool,
        image_size: int = 64,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.to_identity = code_head(HIDDEN, IDENTITY)
        self.to_expression = code_head(HIDDEN, EXPRESSION)
        self.to_pose = nn.Linear(HIDDEN, POSE) if turns else None
        self.image_decoder = image_decoder
        self.texture_decoder = texture_decoder
        self.to_expression_modes = nn.Linear(EXPRESSION, expression_modes)
        self.to_identity_modes = nn.Linear(IDENTITY, identity_modes)
        self.register_buffer("neutral_expression", torch.zeros(EXPRESSION))
        factors: dict[FactorName, FactorSpec] = {
            "identity": FactorSpec((IDENTITY,), "who it is: shape and texture (Sec. 4.1)"),
            "expression": FactorSpec((EXPRESSION,), "how the face is deformed (Sec. 4.1)"),
        }
        if turns:
            factors["pose"] = FactorSpec((POSE,), "rotation of the head, row by row (Sec. 4.2)")
        self.spec = ModelSpec("neurotensorial", "facecycle", image_size, 3, factors)

    def encode(self, faces: Tensor) -> Factors:
        hidden, _ = self.encoder(faces)
        codes: dict[FactorName, Tensor] = {
            "identity": self.to_identity(hidden).float(),
            "expression": self.to_expression(hidden).float(),
        }
        if self.to_pose is not None:
            codes["pose"] = self.to_pose(hidden).float()
        return Factors(codes)

    def draw(self, identity: Tensor, expression: Tensor, pose: Tensor | None) -> Tensor:
        """Faces (N, 3, S, S), not cut to [0, 1], so that gradients survive at the ends."""
        features = synthesis(expression, identity)
        if pose is not None:
            features = rotate(features, as_matrix(pose))
        return (self.image_decoder(features).float() + 1) / 2

    def draw_texture(self, identity: Tensor) -> Tensor:
        """Unfolded texture (N, 3, S, S), not cut to [0, 1]."""
        return (self.texture_decoder(identity) + 1) / 2

    def decode(self, factors: Factors) -> Tensor:
        """D of Eq. 18; the pose code is replaced by the nearest rotation."""
        pose = None
        if self.to_pose is not None:
            pose = nearest_rotation(as_matrix(factors["pose"])).flatten(1)
        return self.draw(factors["identity"], factors["expression"], pose).clamp(0, 1)

    def neutral(self, name: FactorName) -> Tensor:
        """No rotation, or the mean code of faces with hardly any expression."""
        if name == "pose" and self.to_pose is not None:
            return torch.eye(3, device=self.neutral_expression.device).flatten()
        if name == "expression":
            return self.neutral_expression
        raise ValueError(f"the proof of concept of neurotensorial has no neutral {name}")

    def texture(self, factors: Factors) -> Tensor:
        """Unfolded texture (N, 3, S, S) in [0, 1], from identity alone (Sec. 4.1.2)."""
        return self.draw_texture(factors["identity"]).clamp(0, 1)

    def coefficients(self, factors: Factors) -> tuple[Tensor, Tensor]:
        """Identity and expression coefficients of the morphable model, (N, P) and (N, E)."""
        return (
            self.to_identity_modes(factors["identity"]).float(),
            self.to_expression_modes(factors["expression"]).float(),
        )
