"""The tuplet clusters loss: values by hand, who is a negative of whom, gradients."""

import pytest
import torch
from torch.nn import functional as F

from facefactor.losses.tuplets import identity_aware_negatives, tuplet_clusters_loss

# Two people smile (class 0) at (1, 0) and (0, 1): their centre is (1/2, 1/2), from which each is
# 1/2 away (squared). Person 1 is also angry at (1, 0), 1/2 away; person 0 is sad at (-1, 0), which
# is 9/4 + 1/4 = 5/2 away. Person 2 is afraid where person 1 is angry.
CODES = torch.tensor([[1.0, 0], [0, 1], [1, 0], [-1, 0], [1, 0]])
CLASSES = torch.tensor([0, 0, 1, 2, 3])
SUBJECTS = torch.tensor([0, 1, 1, 0, 2])


def loss(codes=CODES, classes=CLASSES, subjects=SUBJECTS, reference=0.75, margin=0.5):
    return tuplet_clusters_loss(codes, classes, subjects, torch.tensor(reference), margin)


def test_by_hand():
    """Positives: 1/2 - 3/4 + 1/2 = 1/4 each. Negatives: 3/4 - 1/2 + 1/2 = 3/4, and 0 beyond."""
    torch.testing.assert_close(loss(), torch.tensor(1 / 4 + (3 / 4 + 0) / 2))


def test_strangers_are_no_negatives():
    """Were person 2's fear one, the mean of negatives would be (3/4 + 0 + 3/4) / 3."""
    torch.testing.assert_close(loss(), loss(CODES[:4], CLASSES[:4], SUBJECTS[:4]))
    assert loss(subjects=torch.tensor([0, 1, 1, 0, 1])) > loss()


def test_who_is_a_negative_of_whom():
    clusters = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]]).bool()
    subjects = torch.tensor([0, 1, 1, 2, 2, -1])
    expected = torch.tensor([[0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 1, 0]]).bool()
    assert identity_aware_negatives(clusters, subjects).equal(expected)


def test_unknown_people_are_not_one_person():
    subjects = torch.tensor([0, -1, -1, -1, 2])
    torch.testing.assert_close(loss(subjects=subjects), torch.tensor(1 / 4))


def test_the_mean_over_clusters():
    """Twice the same faces, as other classes and other people: two clusters of the same loss."""
    codes, classes = torch.cat([CODES, CODES]), torch.cat([CLASSES, CLASSES + 10])
    both = loss(codes, classes, torch.cat([SUBJECTS, SUBJECTS + 10]))
    torch.testing.assert_close(both, loss())


def test_lengths_and_rotations_do_not_count():
    torch.manual_seed(0)
    rotation, _ = torch.linalg.qr(torch.randn(2, 2))
    moved = torch.arange(1.0, 6.0)[:, None] * (CODES @ rotation)
    torch.testing.assert_close(loss(moved), loss())


def test_nothing_is_asked_of_separated_clusters_or_of_lone_faces():
    codes = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    classes, subjects = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert loss(codes, classes, subjects, reference=2.0) == 0  # 0 inside, 4 outside
    lone = CODES.clone().requires_grad_()
    alone = loss(lone, torch.arange(5))
    alone.backward()
    assert alone == 0 and lone.grad.abs().max() == 0


def test_the_reference_grows_when_positives_violate_it_and_shrinks_for_negatives():
    def slope(classes, subjects, at):
        reference = torch.tensor(at, requires_grad=True)
        tuplet_clusters_loss(CODES, classes, subjects, reference, 0.5).backward()
        return reference.grad.item()

    assert slope(CLASSES, torch.arange(5), 0.75) == -1  # nobody's negatives: all inside pull
    assert slope(CLASSES, SUBJECTS, 1.5) == 0.5  # positives are inside; one negative of two pushes


def test_agrees_with_the_formula_written_out():
    torch.manual_seed(1)
    codes, classes = torch.randn(30, 5), torch.randint(4, (30,))
    subjects = torch.randint(6, (30,))
    reference, margin, total, clusters = 0.9, 0.4, 0.0, 0
    unit = F.normalize(codes)
    for label in range(4):
        positives = [i for i in range(30) if classes[i] == label]
        people = {int(subjects[i]) for i in positives}
        negatives = [i for i in range(30) if i not in positives and int(subjects[i]) in people]
        assert len(positives) > 1 and negatives
        centre = sum(unit[i] for i in positives) / len(positives)
        inside = [float(((unit[i] - centre) ** 2).sum()) for i in positives]
        outside = [float(((unit[j] - centre) ** 2).sum()) for j in negatives]
        total += sum(max(0, d - reference + margin) for d in inside) / len(inside)
        total += sum(max(0, reference - d + margin) for d in outside) / len(outside)
        clusters += 1
    found = loss(codes, classes, subjects, reference, margin)
    torch.testing.assert_close(found, torch.tensor(total / clusters))


@pytest.mark.parametrize("seed", [0, 1])
def test_gradient(seed):
    torch.manual_seed(seed)
    codes = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    reference = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    classes, subjects = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2]), torch.tensor([0, 1, 2] * 2 + [0, 1])

    def function(codes, reference):
        return tuplet_clusters_loss(codes, classes, subjects, reference, 0.5)

    assert function(codes, reference) > 0
    assert torch.autograd.gradcheck(function, (codes, reference))
