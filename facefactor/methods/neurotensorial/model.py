"""Neuro-Tensorial: a face is a multilinear product of identity, expression, pose and light.

Wang, Shu, Cheng, Panagakis, Samaras and Zafeiriou, "An Adversarial Neuro-Tensorial Approach for
Learning Disentangled Representations", IJCV 2019. `tensors.py` holds the products, `networks.py`
the encoder and decoders, `formation.py` how albedo, normals and light make a face, `training.py`
what it learns from, `recipe.py` the settings, `README.md` what the paper leaves open and what we
chose; `proof.py` is the proof of concept of Sec. 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.factors import FactorName, Factors, FactorSpec, ModelSpec
from facefactor.geometry.lighting import shading
from facefactor.geometry.rotations import nearest_rotation
from facefactor.methods.neurotensorial.formation import compose, facing_normals, light_up
from facefactor.methods.neurotensorial.motion import FINER, five_points, in_square, mesh_flow
from facefactor.methods.neurotensorial.networks import (
    Encoder,
    UnpoolingDecoder,
    UpsamplingDecoder,
    code_head,
    threshold,
)
from facefactor.methods.neurotensorial.tensors import rotate, synthesis

IDENTITY, EXPRESSION, POSE, ILLUMINATION = 80, 15, 9, 9  # sizes of the codes (Sec. 3.5)
CROP = "facecycle"  # a key of `perception.align.CROPS`
HIDDEN = 128  # of z_i, z_b and z_m
SYNTHESISED = EXPRESSION * IDENTITY  # 2-way; 3-way is ILLUMINATION times as many
_DARKEST = 0.1  # added to shadings before they are divided: noise would be lit up, too
VERTICES = 75 * 125  # of the grid on which shapes are given


class Codes(NamedTuple):
    """E(x) of N faces (Eq. 6)."""

    identity: Tensor  # (N, 80) z_id
    expression: Tensor  # (N, 15) z_exp
    pose: Tensor  # (N, 9) z_p, a 3x3 matrix row by row, near a rotation once trained
    illumination: Tensor  # (N, 9) z_l
    background: Tensor  # (N, 128) z_b
    mask: Tensor  # (N, 128) z_m


class Rendering(NamedTuple):
    """N faces and what they are made of; images (N, 3, S, S) in [0, 1] unless said otherwise."""

    image: Tensor  # the face before its background
    face: Tensor  # albedo times shading, everywhere
    albedo: Tensor  # above 0
    normals: Tensor  # in [-1, 1]; x to the right, y up, z to the camera
    shading: Tensor  # (N, 1 or 3, S, S)
    mask: Tensor  # (N, 1, S, S), 1 where the face is
    background: Tensor


class NeuroTensorial(nn.Module):
    """The autoencoder of Fig. 2.

    Args:
        encoder: faces (N, 3, S, S) -> z_i (N, 128) and the places of its maxima.
        mask_decoder, background_decoder: z_m or z_b and these places -> (N, 1 or 3, S, S).
        albedo_decoder, normal_decoder: rotated features (N, 1200) -> (N, 3 or 2, S, S).
        shape_core: B of Eq. 4, (N, 1200) -> (N, 28125).
        face_core: Q of Eq. 2, (N, 10800) -> (N, 3 S S).
        expression_modes, identity_modes: of the morphable model that fits the training faces.
        lighting_colours: 1 for grey light, 3 for a light of each colour.
    """

    neutral_expression: Tensor
    mean_illumination: Tensor
    mean_shape: Tensor
    landmarks: Tensor

    def __init__(
        self,
        encoder: Encoder,
        mask_decoder: UnpoolingDecoder,
        background_decoder: UnpoolingDecoder,
        albedo_decoder: UpsamplingDecoder,
        normal_decoder: UpsamplingDecoder,
        shape_core: nn.Module,
        face_core: nn.Module,
        expression_modes: int,
        identity_modes: int,
        lighting_colours: int,
        image_size: int = 64,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.to_identity = code_head(HIDDEN, IDENTITY)
        self.to_expression = code_head(HIDDEN, EXPRESSION)
        self.to_pose = nn.Linear(HIDDEN, POSE)
        self.to_illumination = nn.Linear(HIDDEN, ILLUMINATION)
        self.to_background = nn.Linear(HIDDEN, HIDDEN)
        self.to_mask = nn.Linear(HIDDEN, HIDDEN)
        self.mask_decoder = mask_decoder
        self.background_decoder = background_decoder
        self.albedo_decoder = albedo_decoder
        self.normal_decoder = normal_decoder
        self.shape_core = shape_core
        self.face_core = face_core
        self.to_expression_modes = nn.Linear(EXPRESSION, expression_modes)  # fc of Eq. 10
        self.to_identity_modes = nn.Linear(IDENTITY, identity_modes)  # fc of Eq. 11
        self.to_lighting = nn.Linear(ILLUMINATION, lighting_colours * 9, bias=False)
        # a product with zero is zero, so neither is removed by the zero code; training follows them
        self.register_buffer("neutral_expression", torch.zeros(EXPRESSION))
        self.register_buffer("mean_illumination", torch.zeros(ILLUMINATION))
        # of the morphable model that fitted the training faces, on the grid; 0: none did
        self.register_buffer("mean_shape", torch.zeros(VERTICES, 3))
        self.register_buffer("landmarks", torch.zeros(68, dtype=torch.int64))
        self.image_size = image_size
        self._begin_frontal_and_lit()
        self.spec = _spec(image_size)

    def read(self, faces: Tensor) -> tuple[Codes, list[Tensor]]:
        """E(x) of faces (N, 3, S, S), and where the encoder's maxima were."""
        hidden, places = self.encoder(faces)
        codes = Codes(
            identity=self.to_identity(hidden).float(),
            expression=self.to_expression(hidden).float(),
            pose=self.to_pose(hidden).float(),
            illumination=self.to_illumination(hidden).float(),
            background=self.to_background(hidden),
            mask=self.to_mask(hidden),
        )
        return codes, places

    def surround(self, codes: Codes, places: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Mask (N, 1, S, S) and background (N, 3, S, S), both cut to [0, 1]."""
        mask = self.mask_decoder(codes.mask, places)
        background = self.background_decoder(codes.background, places)
        return F.hardtanh(mask + 0.5, 0, 1), F.hardtanh(background + 0.5, 0, 1)

    def light_face(
        self, identity: Tensor, expression: Tensor, pose: Tensor, illumination: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Albedo, normals and shading of codes, by the second stream of Sec. 3.5; see Rendering."""
        features = rotate(synthesis(expression, identity), as_matrix(pose))
        albedo = threshold(self.albedo_decoder(features) + 0.5)
        normals = facing_normals(self.normal_decoder(features))
        return albedo, normals, self.shade(normals, illumination)

    def shade(self, normals: Tensor, illumination: Tensor) -> Tensor:
        """Shading (N, 1 or 3, S, S) of normals (N, 3, S, S) under codes (N, 9)."""
        with torch.autocast(normals.device.type, enabled=False):  # it would multiply in bfloat16
            return shading(normals, self.lighting(illumination))

    def draw(self, codes: Codes, places: Sequence[Tensor]) -> Rendering:
        """D of Eq. 7, the pose code as it is: what training looks at."""
        return _rendering(
            self.light_face(codes.identity, codes.expression, codes.pose, codes.illumination),
            *self.surround(codes, places),
        )

    def lighting(self, illumination: Tensor) -> Tensor:
        """Spherical-harmonic coefficients of codes (N, 9): (N, 9), or (N, 27) in colour."""
        return self.to_lighting(illumination).float()

    def illumination_of(self, lighting: Tensor) -> Tensor:
        """Codes (N, 9) whose lighting is nearest to the given, (N, 9) or (N, 27).

        Nine coefficients stand for grey light where the model has three colours; of 27 a grey model
        takes the mean of colours.
        """
        weight = self.to_lighting.weight.float()
        wanted = lighting.float().reshape(len(lighting), -1, 9)
        colours = len(weight) // 9
        wanted = wanted.mean(dim=1, keepdim=True) if colours == 1 else wanted.expand(-1, colours, 9)
        codes: Tensor = torch.linalg.lstsq(weight, wanted.flatten(1).mT).solution
        return codes.mT

    def shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """B of codes (Eq. 4): displacements from the mean face, (N, 3, 9375) in cm."""
        features = synthesis(expression, identity)
        return self.shape_core(features).float().view(-1, 3, VERTICES)

    def set_mean_face(self, vertices: Tensor, landmarks: Tensor) -> None:
        """Keep what shapes are displacements from: vertices (9375, 3) in cm, and which of them are
        the 68 landmarks."""
        self.mean_shape.copy_(vertices)
        self.landmarks.copy_(landmarks)

    def mean_face(self) -> tuple[Tensor, Tensor] | None:
        """What `set_mean_face` was given, in training; None for untrained weights."""
        return (self.mean_shape, self.landmarks) if self.mean_shape.any() else None

    def frontal(self, identity: Tensor, expression: Tensor, illumination: Tensor | None) -> Tensor:
        """Q of codes (Eq. 2), (N, 3, S, S): the frontal image in [-1, 1], grey 0 around the face.

        Without illumination 1/9 stands for each of its numbers, and the same Q gives the frontal
        normals (Eq. 5), 0 around the face.
        """
        if illumination is None:
            illumination = torch.full_like(expression[:, :1], 1 / ILLUMINATION).repeat(
                1, ILLUMINATION
            )
        features = synthesis(illumination, expression, identity)
        size = self.image_size
        return self.face_core(features).float().view(-1, 3, size, size)

    def encode(self, faces: Tensor) -> Factors:
        codes, places = self.read(faces)
        mask, background = self.surround(codes, places)
        return Factors(_by_name(codes), {"mask": mask, "background": background})

    def encode_codes(self, faces: Tensor) -> Factors:
        """`encode` without mask and background."""
        codes, _ = self.read(faces)
        return Factors(_by_name(codes))

    def render(self, factors: Factors) -> Rendering:
        """Faces with all they are made of.

        The pose code is replaced by the nearest rotation: then a path between two of them, and a
        code half-way to the neutral one, are rotations, too. Where there is no mask the face fills
        the square; where there is no background it is black.
        """
        pose = nearest_rotation(as_matrix(factors["pose"])).flatten(1)
        lit = self.light_face(
            factors["identity"], factors["expression"], pose, factors["illumination"]
        )
        empty = torch.zeros_like(lit[0])
        return _rendering(
            lit,
            factors.residual.get("mask", 1 + empty[:, :1]),
            factors.residual.get("background", empty),
        )

    def decode(self, factors: Factors) -> Tensor:
        """D of Eq. 7."""
        return self.render(factors).image

    def neutral(self, name: FactorName) -> Tensor:
        """No rotation; the mean code of faces with hardly any expression; the mean illumination."""
        if name == "pose":
            return torch.eye(3, device=self.neutral_expression.device).flatten()
        if name == "expression":
            return self.neutral_expression
        if name == "illumination":
            return self.mean_illumination
        raise ValueError(
            f"neurotensorial has no neutral {name}; it has one for expression, pose, illumination"
        )

    def edit_flow(self, before: Factors, after: Factors) -> Tensor:
        """Flow that takes the photo's own pixels to the edited face: the motion of the mesh, see
        `motion.py`; (N, 2, 4 S, 4 S), or (N, 2, S, S) of zeros where nothing moves, as with
        weights that do not know the mean face."""
        known, side = self.mean_face(), FINER * self.image_size
        moving: tuple[FactorName, ...] = ("identity", "expression", "pose")
        if known is None or all(torch.equal(before[name], after[name]) for name in moving):
            size = self.image_size
            return self.mean_shape.new_zeros(len(before["pose"]), 2, size, size)
        mean, landmarks = known
        heads = [
            (
                mean + self.shape(codes["identity"], codes["expression"]).mT,
                nearest_rotation(as_matrix(codes["pose"])),
            )
            for codes in (before, after)
        ]
        like = five_points(*heads[0], landmarks)
        points = [in_square(*head, landmarks, like, self.spec.crop, side) for head in heads]
        return mesh_flow(points[0], points[1], side)

    def edit_gain(self, before: Factors, after: Factors) -> Tensor | None:
        """What the pixels of the photo, not yet moved, are multiplied by, (N, 1 or 3, S, S): the
        shading of the face before under the light after over that under its own; 1 around it.

        What is drawn follows pose and expression far less than the mesh does (README), so these are
        left to the mesh. None for weights that do not know the mean face: there, all is drawn.
        """
        if self.mean_face() is None:
            return None
        codes = [each["illumination"] for each in (before, after)]
        if torch.equal(*codes):
            size = self.image_size
            return self.mean_shape.new_ones(len(codes[0]), 1, size, size)
        pose = nearest_rotation(as_matrix(before["pose"]))
        features = rotate(synthesis(before["expression"], before["identity"]), pose)
        normals = facing_normals(self.normal_decoder(features))
        old, new = (_DARKEST + self.shade(normals, code).clamp(min=0) for code in codes)
        return 1 + before.residual.get("mask", torch.ones_like(old[:, :1])) * (new / old - 1)

    def frontal_face(self, factors: Factors) -> Tensor:
        """The face seen from the front, (N, 3, S, S) in [0, 1], mid-grey around it."""
        drawn = self.frontal(factors["identity"], factors["expression"], factors["illumination"])
        return ((drawn + 1) / 2).clamp(0, 1)

    def frontal_normals(self, factors: Factors) -> Tensor:
        """The normals of the face seen from the front, (N, 3, S, S) of length 1."""
        return F.normalize(self.frontal(factors["identity"], factors["expression"], None))

    def coefficients(self, factors: Factors) -> tuple[Tensor, Tensor]:
        """Identity and expression coefficients of the morphable model, (N, P) and (N, E)."""
        return (
            self.to_identity_modes(factors["identity"]).float(),
            self.to_expression_modes(factors["expression"]).float(),
        )

    @torch.no_grad()
    def _begin_frontal_and_lit(self) -> None:
        """Before training all heads are frontal, in even light of shading 0.75.

        A black face, or one turned by a matrix near 0, would give its decoders no gradient.
        """
        self.to_lighting.weight.copy_(torch.eye(9).repeat(self.to_lighting.out_features // 9, 1))
        self.to_pose.weight.mul_(0.1)
        self.to_pose.bias.copy_(torch.eye(3).flatten())
        self.to_illumination.weight.mul_(0.1)
        self.to_illumination.bias.copy_(0.75 / 0.886227 * torch.eye(9)[0])


def as_matrix(pose: Tensor) -> Tensor:
    """Pose codes (N, 9) as matrices (N, 3, 3), filled row by row (Sec. 3.4)."""
    return pose.reshape(-1, 3, 3)


def _by_name(codes: Codes) -> dict[FactorName, Tensor]:
    return {
        "identity": codes.identity,
        "expression": codes.expression,
        "pose": codes.pose,
        "illumination": codes.illumination,
    }


def _rendering(lit: tuple[Tensor, Tensor, Tensor], mask: Tensor, background: Tensor) -> Rendering:
    albedo, normals, shade = lit
    face = light_up(albedo, shade)
    image = compose(face, mask, background)
    return Rendering(image, face, albedo, normals, shade, mask, background)


def _spec(image_size: int) -> ModelSpec:
    return ModelSpec(
        name="neurotensorial",
        crop=CROP,
        image_size=image_size,
        channels=3,
        factors={
            "identity": FactorSpec((IDENTITY,), "who it is: shape and albedo (Sec. 3.1, 3.2)"),
            "expression": FactorSpec(
                (EXPRESSION,), "how the face is deformed, whoever it is (Sec. 3.1, 3.2)"
            ),
            "pose": FactorSpec(
                (POSE,), "rotation of the head, a 3x3 matrix row by row (Sec. 3.4)", owns=("mask",)
            ),
            "illumination": FactorSpec(
                (ILLUMINATION,), "light as spherical harmonics (Sec. 3.1, 5.2)"
            ),
        },
    )
