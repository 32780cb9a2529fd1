"""Another light on a face: of another photo, or from a direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from facefactor import editing
from facefactor.abilities import check_separates, lit_model
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, Factors
from facefactor.geometry.lighting import directional_lighting
from facefactor.photo_edits import Change, PhotoFace, encode_face

AMBIENT = 0.3  # a single light from the side leaves half of a face black

# Degrees of azimuth and elevation. Left is the subject's left, the right side of the photo.
DIRECTIONS: Mapping[str, tuple[float, float]] = {
    "front": (0.0, 0.0),
    "left": (60.0, 0.0),
    "right": (-60.0, 0.0),
    "above": (0.0, 60.0),
    "below": (0.0, -60.0),
}


@dataclass(frozen=True)
class Light:
    """One distant light, and light from all sides beside it.

    Raises:
        FaceFactorError: azimuth beyond 180 degrees either way, elevation beyond 90, ambient light
            below 0 or no finite number.
    """

    azimuth_deg: float = 0.0  # 0 from the camera, 90 from the subject's left (the photo's right)
    elevation_deg: float = 0.0  # 90 from straight above
    ambient: float = AMBIENT  # brightness of that from all sides; the distant light has 1

    def __post_init__(self) -> None:
        for name, value, most in (
            ("azimuth", self.azimuth_deg, 180),
            ("elevation", self.elevation_deg, 90),
        ):
            if not -most <= value <= most:  # NaN is not, either
                raise FaceFactorError(
                    f"the light's {name} is {value:g} degrees; it is from -{most} to {most}"
                )
        if not 0 <= self.ambient < float("inf"):
            raise FaceFactorError(f"ambient light is {self.ambient:g}; it is 0 or more")


def light_from(direction: str, ambient: float = AMBIENT) -> Light:
    """The light of a named direction.

    Raises:
        FaceFactorError: a name that is not in `DIRECTIONS`.
    """
    if direction not in DIRECTIONS:
        raise FaceFactorError(
            f"no light comes from {direction!r}; it comes from {', '.join(DIRECTIONS)}"
        )
    return Light(*DIRECTIONS[direction], ambient)


def light_code(model: FaceModel, light: PhotoFace | Light) -> Tensor:
    """The illumination code (1, *shape) of another face's light, or of a light.

    Raises:
        FactorError: the model has no illumination, or none from a direction.
    """
    check_separates(model, "illumination")
    if isinstance(light, PhotoFace):
        return encode_face(model, light, ["illumination"])["illumination"]
    angles = torch.tensor([[light.azimuth_deg, light.elevation_deg]])
    with torch.inference_mode():
        lighting = directional_lighting(angles[:, 0], angles[:, 1], light.ambient)
        return lit_model(model).illumination_of(lighting)


def relit(model: FaceModel, code: Tensor, strength: float = 1.0) -> Change:
    """The change of light to that of `code`: strength 0 keeps the photo's own, 1 replaces it,
    between they mix as two lights do, beyond 1 the difference is exaggerated."""

    def change(own: Factors) -> Factors:
        return editing.move_towards(own, "illumination", code, strength, model.spec)

    return change


def lights_between(first: Light, last: Light, steps: int) -> list[Light]:
    """`steps` lights on the way, azimuth, elevation and ambient each in equal steps."""
    ends = [(one.azimuth_deg, one.elevation_deg, one.ambient) for one in (first, last)]
    path = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    start, end = torch.tensor(ends, dtype=torch.float64)
    return [Light(*light) for light in torch.lerp(start, end, path).tolist()]
