"""Rows without a label count neither for nor against; the loss is tested with its methods."""

import pytest
import torch

from facefactor.losses.classification import share_right


def test_the_share_is_of_the_labelled_rows():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [1.0, 0.0]])
    assert share_right(logits, torch.tensor([0, 1, 1, -1])).item() == pytest.approx(2 / 3)
    assert share_right(logits, torch.tensor([-1, -1, 0, -1])) == 1
    assert share_right(logits, torch.full((4,), -1)) == 0
