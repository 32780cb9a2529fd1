"""Spherical harmonics: against the integral they stand for, against the matrix form, by eye."""

import math

import pytest
import torch

from facefactor.geometry.lighting import (
    directional_lighting,
    harmonic_basis,
    light_direction,
    lighting_matrix,
    shading,
)

GENERATOR = torch.Generator().manual_seed(0)
NORMALS = torch.nn.functional.normalize(
    torch.randn(2, 3, 7, 5, generator=GENERATOR, dtype=torch.float64), dim=1
)
LIGHTING = torch.randn(2, 9, generator=GENERATOR, dtype=torch.float64)
RIGHT, UP, OUT = torch.eye(3, dtype=torch.float64)


def degrees(*values):
    return torch.tensor(values, dtype=torch.float64)


def brightness(direction, lighting):
    """Shading of one normal (3,) under one light (9,)."""
    return shading(direction[None, :, None, None], lighting[None])[0, 0, 0, 0].item()


def sphere(rings=160, around=320):
    """Directions (K, 3) and the solid angle of each: Gauss-Legendre in z, even in angle."""
    roots, weights = (torch.from_numpy(each) for each in gauss_legendre(rings))
    angle = torch.arange(around).double() * 2 * math.pi / around
    radius = (1 - roots.square()).sqrt()
    directions = torch.stack(
        [
            radius[:, None] * angle.cos(),
            radius[:, None] * angle.sin(),
            roots[:, None].expand(rings, around),
        ],
        dim=-1,
    )
    return directions.reshape(-1, 3), (weights * 2 * math.pi / around).repeat_interleave(around)


def gauss_legendre(count):
    from numpy.polynomial.legendre import leggauss

    return leggauss(count)


def harmonics(directions):
    """The nine real harmonics from their definition, orthonormal; (K, 3) -> (K, 9)."""
    x, y, z = directions.unbind(-1)
    pi = math.pi
    return torch.stack(
        [
            torch.full_like(x, math.sqrt(1 / (4 * pi))),
            math.sqrt(3 / (4 * pi)) * y,
            math.sqrt(3 / (4 * pi)) * z,
            math.sqrt(3 / (4 * pi)) * x,
            math.sqrt(15 / (4 * pi)) * x * y,
            math.sqrt(15 / (4 * pi)) * y * z,
            math.sqrt(5 / (16 * pi)) * (3 * z**2 - 1),
            math.sqrt(15 / (4 * pi)) * x * z,
            math.sqrt(15 / (16 * pi)) * (x**2 - y**2),
        ],
        dim=-1,
    )


def test_the_yardstick_itself_is_orthonormal():
    directions, angles = sphere()
    values = harmonics(directions)
    gram = values.mT @ (values * angles[:, None])
    torch.testing.assert_close(gram, torch.eye(9).double(), rtol=0, atol=1e-12)


def test_the_basis_is_each_harmonic_seen_by_matt_skin():
    """integral of Y(w) max(0, n . w) dw over the sphere, for 70 normals and all nine harmonics."""
    directions, angles = sphere()
    normals = NORMALS.movedim(1, -1).reshape(-1, 3)
    cosine = (normals @ directions.mT).clamp(min=0)  # (70, K)
    irradiance = cosine @ (harmonics(directions) * angles[:, None])  # (70, 9)
    basis = harmonic_basis(normals[:, :, None])[..., 0]
    # The kink of the cosine costs the integral 1e-5; the basis is within 2.7e-5 of the truth.
    torch.testing.assert_close(basis, irradiance, rtol=0, atol=4e-5)


def test_the_basis_is_the_attenuated_harmonics_to_the_published_digits():
    normals = NORMALS.movedim(1, -1).reshape(-1, 3)
    attenuation = math.pi * degrees(1, *[2 / 3] * 3, *[1 / 4] * 5)
    difference = (
        harmonic_basis(normals[:, :, None])[..., 0] - attenuation * harmonics(normals)
    ).abs()
    assert difference.max() < 2.75e-5
    assert difference[:, [0, 1, 2, 3, 4, 5, 7, 8]].max() < 1.5e-6  # z^2 alone has swapped digits
    assert difference[:, 6].max() > 2e-5


def test_order_and_signs_along_the_axes():
    y_up = harmonic_basis(UP[None, :, None])[0, :, 0]
    expected = [0.886227, 1.023328, 0, 0, 0, 0, -0.247708, 0, -0.429043]
    torch.testing.assert_close(y_up, degrees(*expected))
    z_out = harmonic_basis(OUT[None, :, None])[0, :, 0]
    expected = [0.886227, 0, 1.023328, 0, 0, 0, 0.743152 - 0.247708, 0, 0]
    torch.testing.assert_close(z_out, degrees(*expected))
    diagonal = degrees(1, 2, 3)[None, :, None]  # products of every pair differ
    products = harmonic_basis(diagonal)[0, [3, 4, 5, 7], 0]
    torch.testing.assert_close(
        products, degrees(1.023328, 2 * 0.858086, 6 * 0.858086, 3 * 0.858086)
    )


def test_the_matrix_form_is_the_basis():
    matrix = lighting_matrix(LIGHTING)
    assert matrix.shape == (2, 4, 4)
    assert torch.equal(matrix, matrix.mT)
    h = torch.cat([NORMALS, torch.ones_like(NORMALS[:, :1])], dim=1)
    by_matrix = torch.einsum("nihw,nij,njhw->nhw", h, matrix, h)[:, None]
    torch.testing.assert_close(shading(NORMALS, LIGHTING), by_matrix, rtol=0, atol=1e-14)


def test_constant_light_shades_all_normals_alike():
    lighting = torch.zeros(2, 9).double()
    lighting[:, 0] = degrees(1, 0.5)
    shaded = shading(NORMALS, lighting)
    assert shaded.shape == (2, 1, 7, 5)
    torch.testing.assert_close(shaded[0], torch.full((1, 7, 5), 0.886227).double())
    torch.testing.assert_close(shaded[1], torch.full((1, 7, 5), 0.5 * 0.886227).double())


def test_coloured_light_is_three_grey_ones():
    lighting = torch.randn(2, 27, generator=torch.Generator().manual_seed(1)).double()
    colours = shading(NORMALS, lighting)
    assert colours.shape == (2, 3, 7, 5)
    for channel in range(3):
        grey = shading(NORMALS, lighting[:, 9 * channel : 9 * channel + 9])
        torch.testing.assert_close(colours[:, channel : channel + 1], grey)


@pytest.mark.parametrize("shape", [(9,), (2, 3), (2, 18), (2, 3, 9)])
def test_other_shapes_of_lighting_are_refused(shape):
    with pytest.raises(ValueError, match=r"lighting must be \(N, 9\) or \(N, 27\)"):
        shading(NORMALS, torch.zeros(shape).double())


@pytest.mark.parametrize(
    ("azimuth", "elevation", "expected"),
    [(0, 0, OUT), (90, 0, RIGHT), (-90, 0, -RIGHT), (0, 90, UP), (0, -90, -UP), (180, 0, -OUT)],
)
def test_where_the_light_stands(azimuth, elevation, expected):
    direction = light_direction(degrees(azimuth)[0], degrees(elevation)[0])
    torch.testing.assert_close(direction, expected, rtol=0, atol=1e-12)


def test_light_from_one_side_brightens_that_side():
    """The left of the image is the subject's right: x = -1."""
    from_left = directional_lighting(degrees(-60)[0], degrees(0)[0])
    assert brightness(-RIGHT, from_left) > 0.7 > 0.1 > brightness(RIGHT, from_left)
    from_above = directional_lighting(degrees(0)[0], degrees(60)[0])
    assert brightness(UP, from_above) > 0.7 > 0.1 > brightness(-UP, from_above)


def test_distant_light_is_the_cosine_in_nine_harmonics():
    """1/4 + cos / 2 + 5/32 (3 cos^2 - 1): the cosine's own expansion, whatever the direction."""
    azimuth, elevation = degrees(0, 35, -140), degrees(0, 20, -65)
    lighting = directional_lighting(azimuth, elevation)
    assert lighting.shape == (3, 9)
    normals = NORMALS[:1].expand(3, -1, -1, -1)
    cosine = torch.einsum("nchw,nc->nhw", normals, light_direction(azimuth, elevation))[:, None]
    expansion = 1 / 4 + cosine / 2 + 5 / 32 * (3 * cosine.square() - 1)
    torch.testing.assert_close(shading(normals, lighting), expansion, rtol=0, atol=2e-5)
    assert (expansion - cosine.clamp(min=0)).abs().max() < 0.1  # and it is near the cosine


def test_ambient_light_is_added_everywhere():
    azimuth, elevation = degrees(20, -70), degrees(10, 40)
    without = shading(NORMALS, directional_lighting(azimuth, elevation))
    with_ambient = shading(NORMALS, directional_lighting(azimuth, elevation, ambient=0.3))
    torch.testing.assert_close(with_ambient, without + 0.3)


def test_gradients():
    normals = NORMALS[:, :, :2, :2].clone().requires_grad_()
    coloured = torch.cat([LIGHTING, 2 * LIGHTING, -LIGHTING], dim=1).requires_grad_()
    assert torch.autograd.gradcheck(shading, (normals, coloured))
    angles = degrees(20, 40).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: directional_lighting(a[0], a[1], 0.1), angles)
