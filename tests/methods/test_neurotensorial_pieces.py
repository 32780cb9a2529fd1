"""Neuro-Tensorial's mathematics: tensor products, image formation, networks and losses."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from facefactor.geometry.lighting import harmonic_basis, shading
from facefactor.geometry.rotations import rotation_matrix
from facefactor.methods.neurotensorial.formation import (
    compose,
    facing_normals,
    light_up,
)
from facefactor.methods.neurotensorial.losses import (
    absolute_label_loss,
    convergence,
    frontal_target,
    label_loss,
    lighting_loss,
    masked_loss,
    next_balance,
    redrawing_error,
    smoothness_loss,
    unit_norm_loss,
    white_shading_loss,
)
from facefactor.methods.neurotensorial.networks import (
    Discriminator,
    Encoder,
    UnpoolingDecoder,
    UpsamplingDecoder,
    threshold,
    unpool,
)
from facefactor.methods.neurotensorial.tensors import projection, rotate, synthesis


def same(found, expected, **tolerance):
    torch.testing.assert_close(found, torch.as_tensor(expected).to(found), **tolerance)


# Tensors


def test_synthesis_is_the_kronecker_product_row_by_row():
    first, second, third = (torch.randn(4, size) for size in (2, 3, 5))
    two, three = synthesis(first, second), synthesis(first, second, third)
    for n in range(4):
        pair = np.kron(first[n].numpy(), second[n].numpy())
        same(two[n], pair)
        same(three[n], np.kron(pair, third[n].numpy()))
        for i, j, k in product(range(2), range(3), range(5)):
            same(three[n, (i * 3 + j) * 5 + k], first[n, i] * second[n, j] * third[n, k])


def columns_of_products(*matrices):
    """Khatri-Rao product of numpy matrices (k_m, n) as printed: their columns' Kronecker."""
    result = matrices[0]
    for matrix in matrices[1:]:
        result = np.stack([np.kron(a, b) for a, b in zip(result.T, matrix.T, strict=True)], axis=1)
    return result


def test_projection_of_a_synthesis_is_the_three_mode_products():
    """Eq. 1 = Eq. 2 for the row-major unfolding; Kolda and Bader's needs the factors reversed."""
    draw = np.random.default_rng(0)
    core = draw.standard_normal((7, 2, 3, 4))
    light, expression, identity = (draw.standard_normal((5, size)) for size in (2, 3, 4))
    mode_products = np.stack(
        [
            core @ identity[n] @ expression[n] @ light[n]  # x4, x3, x2
            for n in range(5)
        ]
    )
    layer = projection(24, 7, rank=0).double()
    assert layer.bias is None
    codes = [torch.tensor(code) for code in (light, expression, identity)]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(core.reshape(7, 24)))
        same(layer(synthesis(*codes)), mode_products)
        layer.weight.copy_(torch.tensor(core.reshape(7, 24, order="F")))
        assert not np.allclose(layer(synthesis(*codes)), mode_products)
        same(layer(synthesis(*reversed(codes))), mode_products)


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_gradient_of_a_multilinear_loss_is_that_of_eq_16(mode):
    """A = (I (x) B)((I (.) Z<) (x) I)(I (.) Z>(I (x) 1')), with the brackets the paper lost."""
    draw = np.random.default_rng(mode)
    sizes, n, outputs = (2, 3, 4), 3, 5
    codes = [draw.standard_normal((size, n)) for size in sizes]  # faces are columns here
    core, wanted = draw.standard_normal((outputs, 24)), draw.standard_normal((outputs, n))
    one = [np.ones((1, n))]
    before = columns_of_products(*one, *codes[:mode])
    after = columns_of_products(*one, *codes[mode + 1 :])
    size, rest = sizes[mode], after.shape[0]
    spread = after @ np.kron(np.eye(n), np.ones((1, size)))
    matrix = (
        np.kron(np.eye(n), core)
        @ np.kron(columns_of_products(np.eye(n), before), np.eye(size * rest))
        @ columns_of_products(np.eye(n * size), spread)
    )
    code, target = codes[mode].flatten(order="F"), wanted.flatten(order="F")
    whole = core @ columns_of_products(*codes)
    np.testing.assert_allclose(matrix @ code, whole.flatten(order="F"), atol=1e-12)

    rows = [torch.tensor(each.T).requires_grad_() for each in codes]  # and rows here
    layer = projection(24, outputs, rank=0).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(core))
    (layer(synthesis(*rows)) - torch.tensor(wanted.T)).square().sum().backward()
    gradient = 2 * matrix.T @ (matrix @ code - target)  # Eq. 25
    same(rows[mode].grad, gradient.reshape(n, size), atol=1e-11, rtol=1e-11)


def test_a_projection_of_low_rank_is_a_product_of_two():
    layer = projection(6, 5, rank=2)
    assert sum(weight.numel() for weight in layer.parameters()) == 2 * 6 + 5 * 2
    whole = layer(torch.eye(6)).T
    assert torch.linalg.matrix_rank(whole) == 2
    features = torch.randn(3, 6)
    same(layer(features), features @ whole.T)


def test_rotation_multiplies_the_features_as_three_rows():
    features = torch.arange(6.0)[None]
    rotation = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0]]])
    same(rotate(features, rotation), [[2.0, 3.0, 4.0, 5.0, 0.0, 2.0]])
    many, matrices = torch.randn(4, 1200), torch.randn(4, 3, 3)
    literal = torch.stack(
        [(r @ f.reshape(3, 400)).flatten() for r, f in zip(matrices, many, strict=True)]
    )
    same(rotate(many, matrices), literal)


def test_rotation_by_nothing_back_and_without_loss():
    features = torch.randn(4, 1200, dtype=torch.float64)
    rotation = rotation_matrix(torch.randn(4, 3, dtype=torch.float64) * 40)
    same(rotate(features, torch.eye(3).expand(4, 3, 3).double()), features)
    turned = rotate(features, rotation)
    assert (turned - features).abs().max() > 0.1
    same(rotate(turned, rotation.mT), features)
    same(turned.norm(dim=1), features.norm(dim=1))


# Formation


def directions(count: int, seed: int = 0) -> torch.Tensor:
    """Random unit vectors, (1, 3, 1, count) float64."""
    random = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(1, 3, 1, count, generator=random, dtype=torch.float64))


def test_basis_is_that_of_attenuated_harmonics():
    """Y_lm times pi, 2 pi / 3 and pi / 4; the printed constants are rounded to 3e-5."""
    normals = directions(50)
    x, y, z = normals[0, :, 0]
    pi = torch.pi
    literal = torch.stack(
        [
            torch.full_like(x, 0.5 * (1 / pi) ** 0.5) * pi,
            *((3 / (4 * pi)) ** 0.5 * axis * 2 * pi / 3 for axis in (y, z, x)),
            *(0.5 * (15 / pi) ** 0.5 * both * pi / 4 for both in (x * y, y * z)),
            0.25 * (5 / pi) ** 0.5 * (3 * z**2 - 1) * pi / 4,
            0.5 * (15 / pi) ** 0.5 * x * z * pi / 4,
            0.25 * (15 / pi) ** 0.5 * (x**2 - y**2) * pi / 4,
        ]
    )
    same(harmonic_basis(normals)[0, :, 0], literal, atol=3e-5, rtol=0)


def test_shading_is_the_quadratic_form_of_the_normals():
    """h' M h with h = (n, 1): Ramamoorthi and Hanrahan's form of the same nine numbers."""
    normals, light = directions(20), torch.randn(1, 9, dtype=torch.float64)
    l00, ly, lz, lx, lxy, lyz, lzz, lxz, lxxyy = light[0].tolist()
    c1, c2, c3, c4, c5 = 0.429043, 0.511664, 0.743152, 0.886227, 0.247708
    matrix = torch.tensor(
        [
            [c1 * lxxyy, c1 * lxy, c1 * lxz, c2 * lx],
            [c1 * lxy, -c1 * lxxyy, c1 * lyz, c2 * ly],
            [c1 * lxz, c1 * lyz, c3 * lzz, c2 * lz],
            [c2 * lx, c2 * ly, c2 * lz, c4 * l00 - c5 * lzz],
        ],
        dtype=torch.float64,
    )
    for k in range(20):
        h = torch.cat([normals[0, :, 0, k], torch.ones(1, dtype=torch.float64)])
        same(shading(normals, light)[0, 0, 0, k], h @ matrix @ h)


def test_even_light_gives_even_shading():
    light = torch.zeros(1, 9, dtype=torch.float64)
    light[0, 0] = 2.0
    same(shading(directions(9), light), torch.full((1, 1, 1, 9), 2 * 0.886227))


def test_each_colour_has_its_own_light():
    normals, light = directions(6), torch.randn(1, 27, dtype=torch.float64)
    coloured = shading(normals, light)
    for colour in range(3):
        own = shading(normals, light[:, 9 * colour : 9 * colour + 9])
        same(coloured[:, colour : colour + 1], own)
    grey = torch.cat([light[:, :9]] * 3, dim=1)
    same(shading(normals, grey), shading(normals, light[:, :9]).expand(-1, 3, -1, -1))


def test_shading_gradient():
    normals, light = directions(3).requires_grad_(), torch.randn(1, 9, dtype=torch.float64)
    assert torch.autograd.gradcheck(shading, (normals, light.requires_grad_()))


def test_normals_face_the_camera_and_have_finite_gradients():
    xy = torch.tensor([[0.6, 0.0, -1.0, 3.0, 0.0], [0.0, -0.8, 0.0, 0.5, 1.0]])
    xy = xy.reshape(1, 2, 1, 5).requires_grad_()
    normals = facing_normals(xy)
    expected = [
        [0.6, 0.0, -1.0, 1.0, 0.0],
        [0.0, -0.8, 0.0, 0.5, 1.0],
        [0.8, 0.6, 0.01, 0.01, 0.01],
    ]
    same(normals[0, :, 0], expected, atol=1e-4, rtol=0)
    normals.sum().backward()
    assert xy.grad.isfinite().all()
    assert (xy.grad[0, 0, 0, 3], xy.grad[0, 0, 0, 0] != 0) == (0, True)  # cut off, and alive


def test_composition_by_mask():
    face, background = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    assert torch.equal(compose(face, mask, background), background)
    assert torch.equal(compose(face, mask + 1, background), face)
    same(compose(face, mask + 0.25, background), 0.25 * face + 0.75 * background)
    assert compose(face + 1, mask + 1, background).max() == 1


def test_lit_faces_are_cut_to_the_range_of_images():
    albedo = torch.tensor([0.5, 0.8, 0.5]).reshape(1, 3, 1, 1)
    shade = torch.tensor([1.0, 2.0, -1.0]).reshape(1, 3, 1, 1)
    same(light_up(albedo, shade).flatten(), [0.5, 1.0, 0.0])


# Networks


def test_threshold_is_flat_below_zero():
    x = torch.tensor([-2.0, 0.0, 0.5], requires_grad=True)
    y = threshold(x)
    assert y.tolist() == [pytest.approx(1e-6), pytest.approx(1e-6), pytest.approx(0.5, abs=2e-6)]
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 1]


def only_middle(convolution):
    """A convolution that copies its first channel."""
    torch.nn.init.zeros_(convolution.weight)
    torch.nn.init.zeros_(convolution.bias)
    middle = convolution.kernel_size[0] // 2
    with torch.no_grad():
        convolution.weight[0, 0, middle, middle] = 1


def test_the_encoder_pools_before_its_threshold_and_remembers_where():
    encoder = Encoder((1,), code_size=2, image_size=4)
    only_middle(encoder.convolutions[0])
    image = torch.tensor(
        [[0.1, 0.2, 0.9, 0.0], [0.4, 0.3, 0.0, 0.0], [-0.1, -0.5, 0.0, 0.7], [-0.2, -0.3, 0.0, 0.1]]
    )
    images = torch.zeros(1, 3, 4, 4)
    images[0, 0] = image
    code, (where,) = encoder(images)
    assert where.flatten().tolist() == [4, 2, 8, 11]  # row by row: 0.4, 0.9, -0.1, 0.7
    maxima = torch.tensor([0.4, 0.9, 1e-6, 0.7])
    same(code[0], torch.sigmoid(maxima @ encoder.to_code.weight.T + encoder.to_code.bias))


def test_unpooling_undoes_pooling_where_maxima_were():
    maps = torch.randn(2, 3, 6, 4, requires_grad=True)
    maxima, where = F.max_pool2d(maps, 2, return_indices=True)
    again = unpool(maxima, where)
    assert torch.equal(again, F.max_unpool2d(maxima, where, 2))
    assert torch.equal(F.max_pool2d(again.clamp(min=0), 2), maxima.clamp(min=0))
    again.sum().backward()
    assert torch.equal(maps.grad, (again != 0).float())


def test_unpooling_puts_maxima_where_they_were():
    encoder = Encoder((1,), code_size=2, image_size=4)
    decoder = UnpoolingDecoder(4, (1,), 1, 4)
    only_middle(encoder.convolutions[0])
    only_middle(decoder.convolutions[0])
    only_middle(decoder.to_image)
    with torch.no_grad():
        decoder.from_code.weight.copy_(torch.eye(4))
    images = torch.rand(2, 3, 4, 4) + 0.1
    _, places = encoder(images)
    red = images[:, :1]
    maxima = F.max_pool2d(red, 2)
    drawn = decoder(maxima.flatten(1), places)
    kept = red == F.interpolate(maxima, scale_factor=2)
    same(drawn, torch.where(kept, red, 1e-6))


def test_maxima_reach_each_level_of_a_decoder():
    """Three levels go together only in reverse order: the sizes say so."""
    encoder, decoder = Encoder((5, 4, 3), 6, 16), UnpoolingDecoder(6, (5, 4, 3), 2, 16)
    code, places = encoder(torch.rand(2, 3, 16, 16))
    assert [tuple(where.shape) for where in places] == [(2, 5, 8, 8), (2, 4, 4, 4), (2, 3, 2, 2)]
    assert decoder(code, places).shape == (2, 2, 16, 16)
    assert [c.out_channels for c in decoder.convolutions] == [4, 5, 5]
    rolled = [where.roll(1, 0) for where in places]
    assert not torch.equal(decoder(code, rolled), decoder(code, places))


def test_published_parameter_counts():
    """Of each network of App. A as Neural Face Editing has it; no memory is taken for them."""

    def count(network):
        return sum(weight.numel() for weight in network.parameters())

    channels = (96, 48, 24)
    with torch.device("meta"):
        assert count(Encoder(channels, 128, 64)) == 348_104
        assert count(UnpoolingDecoder(128, channels, 3, 64)) == 575_379
        assert count(UpsamplingDecoder(128, channels, 3, 64)) == 575_379
        assert count(UpsamplingDecoder(1200, channels, 3, 64)) == 2_221_971
        assert count(Discriminator(channels, 128, 64)) == 348_104 + 575_379
        assert Encoder(channels, 128, 64).to_code.in_features == 1536


def test_sizes_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="20 pixels.*3 times.*multiple of 8"):
        Encoder((4, 4, 4), 128, 20)


# Losses

NAN = torch.nan


def test_labels_that_are_not_known_take_no_part():
    predicted = torch.tensor([[1.0, 3.0], [5.0, 5.0], [0.0, 2.0]], requires_grad=True)
    labels = torch.tensor([[0.0, 1.0], [NAN, 5.0], [0.0, 0.0]])
    loss = label_loss(predicted, labels)
    same(loss, ((1 + 4) / 2 + (0 + 4) / 2) / 2)
    same(absolute_label_loss(predicted, labels), ((1 + 2) / 2 + (0 + 2) / 2) / 2)
    loss.backward()
    assert predicted.grad.isfinite().all() and not predicted.grad[1].any()
    first = label_loss(predicted, labels, among=torch.tensor([True, True, False]))
    same(first, (1 + 4) / 2)
    none = label_loss(predicted, torch.full_like(labels, NAN))
    assert none == 0


def test_masked_loss_is_a_mean_over_the_mask():
    predicted = torch.zeros(2, 2, 1, 2, requires_grad=True)
    target = torch.tensor([[[[1.0, 9.0]], [[2.0, 9.0]]], [[[3.0, 3.0]], [[3.0, NAN]]]])
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0]).reshape(2, 1, 1, 2)
    loss = masked_loss(predicted, target, mask)
    same(loss, (1.0 + 4.0) / 2)
    loss.backward()
    assert predicted.grad.isfinite().all() and not predicted.grad[1].any()
    unknown = mask.clone()
    unknown[0] = NAN
    assert masked_loss(predicted, target, unknown) == 0


def test_smoothness_counts_neighbours_within_the_mask():
    maps = torch.tensor([[0.0, 1.0, 5.0], [2.0, 4.0, 5.0]]).reshape(1, 1, 2, 3)
    whole = torch.ones(1, 1, 2, 3)
    same(smoothness_loss(maps, whole, power=1), (1 + 4 + 2 + 1) / 4 + (2 + 3 + 0) / 3)
    same(smoothness_loss(maps, whole, power=2), (1 + 16 + 4 + 1) / 4 + (4 + 9 + 0) / 3)
    left = whole.clone()
    left[..., 2] = 0
    same(smoothness_loss(maps, left, power=1), (1 + 2) / 2 + (2 + 3) / 2)
    assert smoothness_loss(maps, whole * NAN, power=1) == 0


def test_unit_norm_by_hand():
    normals = torch.tensor([[0.6, 1.0], [0.8, 1.0], [0.0, 0.0]]).reshape(1, 3, 1, 2)
    same(unit_norm_loss(normals), (0 + 1) / 2)


def test_light_is_compared_colour_by_colour():
    light, labels = torch.zeros(1, 27), torch.zeros(1, 27)
    labels[0, 0], labels[0, 9], labels[0, 18] = 3.0, 6.0, 0.0
    same(lighting_loss(light, labels), (9 + 36) / 9)  # sum over colours of means over nine
    same(lighting_loss(light[:, :9], labels), 9 / 9)  # grey light: the labels' mean, 3
    same(lighting_loss(light, labels[:, :9]), 3 * 9 / 9)  # grey labels for each colour
    assert lighting_loss(light, labels * NAN) == 0


def test_white_shading_is_held_at_three_quarters_over_the_batch():
    mask = torch.tensor([1.0, 1.0, 0.0, 1.0]).reshape(2, 1, 1, 2)
    shade = torch.tensor([0.5, 0.7, 9.0, 1.05]).reshape(2, 1, 1, 2)  # mean within: 0.75
    same(white_shading_loss(shade, mask), 0.0)
    coloured = torch.cat([shade, shade + 0.2, shade - 0.4], dim=1)
    same(white_shading_loss(coloured, mask), (0.04 + 0.16) / 2)
    unknown = mask.clone()
    unknown[1] = NAN
    same(white_shading_loss(shade, unknown), (0.6 - 0.75) ** 2 / 2)
    assert white_shading_loss(shade, mask * NAN) == 0


def test_frontal_targets_are_zero_around_the_face():
    mask = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    images = torch.tensor([0.3, -0.4]).reshape(1, 1, 1, 2)
    same(frontal_target(images, mask).flatten(), [0.3, 0.0])


def test_balance_of_began_step_by_step():
    """k: 0, then 0.001 (0.5 - 0.2) = 0.0003, then cut off at 0; and at 1."""
    balance = torch.zeros(())
    balance = next_balance(balance, torch.tensor(1.0), torch.tensor(0.2), ratio=0.5, rate=1e-3)
    same(balance, 0.0003)
    balance = next_balance(balance, torch.tensor(1.0), torch.tensor(0.9), ratio=0.5, rate=1e-3)
    assert balance == 0
    high = next_balance(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(0.1), 0.5, 1e-3)
    assert high == 1


def test_convergence_of_began_by_hand():
    same(convergence(torch.tensor(1.0), torch.tensor(0.2), ratio=0.5), 1.3)
    same(convergence(torch.tensor(0.4), torch.tensor(0.5), ratio=0.5), 0.7)
    same(redrawing_error(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), -0.5)), 0.5)
