"""IPD-FER: a face is the sum of an identity, a pose and an expression code.

Jiang and Deng, "Disentangling Identity and Pose for Facial Expression Recognition", IEEE
Transactions on Affective Computing, 2022. `networks.py` holds the decoder, `training.py` the three
updates of Algorithm 1, `recipe.py` the published settings, `README.md` what the paper leaves open
and what we chose.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facefactor.factors import FactorName, Factors, FactorSpec, ModelSpec
from facefactor.perception.frozen import Frozen

POSES = 5  # K_P of Eq. 4: bins of |yaw| at 10, 20, 30 and 40 degrees, lower edge included (Table 1)


class IPDFER(nn.Module):
    """The generator G of Fig. 2 with its two classifiers: all that is kept after training.

    Args:
        identity_encoder: E_id, a face recogniser: faces (N, 3, 112, 112) -> codes (N, code_size).
        pose_encoder: E_pose, of the same shapes; None for ID-FER, which has no pose branch.
        expression_encoder: E_exp, of the same shapes.
        decoder: G_dec, sums of codes (N, code_size) -> faces (N, 3, 112, 112) in [0, 1].
        classes: names of the K expressions that C_exp tells apart, in its order.
    """

    def __init__(
        self,
        identity_encoder: Frozen,
        pose_encoder: nn.Module | None,
        expression_encoder: nn.Module,
        decoder: nn.Module,
        classes: tuple[str, ...],
        code_size: int = 512,
    ) -> None:
        super().__init__()
        self.identity_encoder = identity_encoder
        self.expression_encoder = expression_encoder
        self.decoder = decoder
        self.classify_expression = nn.Linear(code_size, len(classes))  # C_exp
        self.pose_encoder = pose_encoder
        self.classify_pose = None if pose_encoder is None else nn.Linear(code_size, POSES)  # C_p
        self.classes = classes
        self.code_size = code_size
        factors: dict[FactorName, FactorSpec] = {
            "identity": FactorSpec(
                (code_size,), "who it is, as if seen neutral and from the front (Sec. 3.1)"
            ),
            "expression": FactorSpec(
                (code_size,), "what the neutral face of the same pose lacks (Sec. 3.1)"
            ),
        }
        if pose_encoder is not None:
            factors["pose"] = FactorSpec((code_size,), "how far the head is turned (Sec. 3.2)")
        self.spec = ModelSpec(
            name="ipdfer", crop="arcface", image_size=112, channels=3, factors=factors
        )

    def encode(self, faces: Tensor) -> Factors:
        return Factors({name: self.encode_code(faces, name) for name in self.spec.factors})

    def encode_code(self, faces: Tensor, name: FactorName) -> Tensor:
        """One factor's code alone: the other encoders do not run."""
        encoders = {"identity": self.identity_encoder, "expression": self.expression_encoder}
        if self.pose_encoder is not None:
            encoders["pose"] = self.pose_encoder
        return encoders[name](faces).float()

    def decode(self, factors: Factors) -> Tensor:
        """G_dec of the sum of all codes, f_{i-p-e} (Sec. 3.1)."""
        return self.decoder(torch.stack([factors[name] for name in self.spec.factors]).sum(dim=0))

    def neutral(self, name: FactorName) -> Tensor:
        """Codes add up, so a factor is left out by the zero code (Eq. 9); a person cannot be."""
        if name == "identity" or name not in self.spec.factors:
            removable = [other for other in self.spec.factors if other != "identity"]
            raise ValueError(f"ipdfer has no neutral {name}; it has one for {removable}")
        return torch.zeros(self.code_size, device=self.classify_expression.weight.device)

    def expression_probabilities(self, faces: Tensor) -> Tensor:
        """(N, K) in the order of `classes`, rows summing to 1; E_exp and C_exp only (Sec. 3.2)."""
        logits: Tensor = self.classify_expression(self.expression_encoder(faces))
        return logits.float().softmax(dim=1)
