"""HoG and LBP: their lengths are the paper's, and what they say of faces worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import hog as describe

from facefactor.evaluation.descriptors import hog, lbp

SIZE = 100  # of the descriptors: nothing is resized


def ramp(along):
    """A face of 100 pixels that gets brighter evenly along an axis: (1, 1, 100, 100)."""
    line = torch.linspace(0.1, 0.9, SIZE)
    return (line if along == "x" else line[:, None]).expand(1, 1, SIZE, SIZE)


@pytest.mark.parametrize(("describe", "length"), [(hog, 3240), (lbp, 1450)])
def test_lengths_are_those_of_the_paper_whatever_the_size(describe, length):
    random = torch.Generator().manual_seed(0)
    for size in (64, 128):
        assert describe(torch.rand(2, 3, size, size, generator=random)).shape == (2, length)


@pytest.mark.parametrize(("along", "direction"), [("x", 0), ("y", 5)])
def test_a_ramp_has_one_direction(along, direction):
    """Ten bins of 18 degrees: 0 holds gradients along x, 5 those at 90 degrees."""
    found = hog(ramp(along)).view(9, 9, 2, 2, 10)
    others = [place for place in range(10) if place != direction]
    assert found[..., others].abs().max() == 0
    # a block's four cells, alike, to length 1
    torch.testing.assert_close(found[1:-1, 1:-1, :, :, direction], torch.full((7, 7, 2, 2), 0.5))


def test_blocks_are_normalised_as_the_library_does():
    faces = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    faces[1] = faces[1].round()  # some directions are cut off, at a fifth
    faces[1, :, :30] = 0.5  # and blocks of nothing
    slow = [describe(face[0].numpy(), 10, (10, 10), (2, 2), block_norm="L2-Hys") for face in faces]
    torch.testing.assert_close(
        hog(faces), torch.from_numpy(np.stack(slow)).float(), atol=1e-5, rtol=0
    )


def test_contrast_does_not_change_gradients_directions():
    face = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(hog(0.5 * face + 0.2), hog(face), atol=1e-3, rtol=0)


def test_patterns_of_one_dark_pixel():
    """All pixels see none darker (the class that none and all share) but its eight neighbours."""
    face = torch.full((1, 1, SIZE, SIZE), 0.6)
    face[0, 0, 50, 50] = 0.2
    cells = lbp(face).view(5, 5, 58)
    assert torch.equal(cells.sum(dim=2), torch.ones(5, 5))
    alone = torch.ones(5, 5)
    alone[2, 2] = 1 - 8 / 400
    inside = slice(1, -1)  # beyond the edge all is dark
    torch.testing.assert_close(cells[inside, inside, 0], alone[inside, inside])
    assert (cells[2, 2, 1:57] > 0).sum() == 8  # an arc of seven in each direction
    assert cells[2, 2, 57] == 0  # none without one arc


def test_one_bright_pixel_is_of_the_class_of_an_even_face():
    face = torch.full((1, 1, SIZE, SIZE), 0.6)
    face[0, 0, 50, 50] = 0.9
    inside = slice(1, -1)
    assert torch.equal(lbp(face).view(5, 5, 58)[inside, inside, 0], torch.ones(3, 3))


def test_colours_count_by_their_luminance():
    colour = torch.tensor([0.2, 0.5, 0.7]).view(1, 3, 1, 1) * ramp("x")
    grey = (0.299 * 0.2 + 0.587 * 0.5 + 0.114 * 0.7) * ramp("x")
    torch.testing.assert_close(hog(colour), hog(grey), atol=1e-5, rtol=0)
    torch.testing.assert_close(lbp(colour), lbp(grey))
