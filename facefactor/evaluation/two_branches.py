"""A small recogniser of expressions, trained from nothing: softmax alone, or 2B(N+M)Softmax.

What NFGAN (Sec. 5.4, Table 4) measures its normalised faces by, after Liu et al., CVPR workshops
2017: convolutions that two branches of dense layers share, one for the softmax and one for the
metric of `losses.tuplets`, optimised together. Neither text at hand says more of the network, the
weights or the schedule; the sizes below are ours, for two CPU cores, and nobody's test part chose
them: they were written down before anything was trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.losses.tuplets import tuplet_clusters_loss

STEPS = 720  # of a training, whatever its faces; about 80 looks at each of 860
BATCH = 96
_RATE, _WEIGHT_DECAY = 1e-3, 5e-4  # of AdamW; the rate falls to 0 as half a cosine
_MARGIN = 0.5  # tau, of squared distances in [0, 4]
_METRIC_WEIGHT = 1.0
_FIRST_REFERENCE = 1.0  # T: codes without any order have this squared distance from their mean


class TwoBranches(nn.Module):
    """Patches (N, 60, 60) of mean 0 and variance 1 -> logits (N, K) and metric codes (N, 64).

    0.9 M weights. A forward pass takes 13 million multiplications a patch.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(
            *_convolution(1, 32, 5, stride=2),  # 30x30
            nn.MaxPool2d(2),  # 15x15
            *_convolution(32, 64, 3),
            nn.MaxPool2d(2, ceil_mode=True),  # 8x8
            *_convolution(64, 128, 3),
            nn.MaxPool2d(2),  # 4x4
            *_convolution(128, 128, 3),
            nn.Flatten(),
            nn.Dropout(0.5),
        )
        self.classify = nn.Sequential(nn.Linear(2048, 192), nn.ReLU(), nn.Linear(192, classes))
        self.embed = nn.Sequential(nn.Linear(2048, 192), nn.ReLU(), nn.Linear(192, 64))
        self.reference = nn.Parameter(torch.tensor(_FIRST_REFERENCE))

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        features = self.shared(patches[:, None])
        return self.classify(features), self.embed(features)


def train_two_branches(
    patches: Tensor,
    classes: Tensor,
    subjects: Tensor,
    count: int,
    with_metric: bool,
    seed: int,
    steps: int = STEPS,
) -> TwoBranches:
    """Train on five patches a face and their mirror images; returns the network in eval mode.

    Under one seed a training with and without the metric branch begins with the same weights and
    sees the same batches. The caller's random state is left as it was.

    Args:
        patches: (N, 5, 60, 60) of `data.patches`.
        classes: (N,) int64, in [0, count).
        subjects: (N,) int64, who each face shows.
        count: number of classes K; one may have no face.
        with_metric: add the tuplet clusters loss to the cross-entropy.
    """
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),  # the caller may be in it
        torch.enable_grad(),
    ):
        torch.manual_seed(seed)
        network = TwoBranches(count)
        optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2
        )
        batches = batches_of_people(subjects, BATCH)
        for _ in range(steps):
            rows = next(batches)
            logits, codes = network(random_patches(patches, rows))
            loss = F.cross_entropy(logits, classes[rows])
            if with_metric:
                loss = loss + _METRIC_WEIGHT * tuplet_clusters_loss(
                    codes, classes[rows], subjects[rows], network.reference, _MARGIN
                )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def class_probabilities(network: TwoBranches, patches: Tensor) -> Tensor:
    """(N, K) of patches (N, 60, 60), by the softmax; the metric branch only helps to train."""
    logits = [network(part)[0] for part in torch.split(patches, 256)]
    return torch.cat(logits).softmax(dim=1)


def batches_of_people(subjects: Tensor, size: int) -> Iterator[Tensor]:
    """Positions of faces for ever, `size` at a time, each face once before any comes again.

    Each pass shuffles the people, and the faces of each; people stay together, so that most faces
    find other expressions of the same person in their batch. A batch may begin a pass inside.
    """
    waiting = subjects.new_empty(0)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, _people_in_turn(subjects)])
        yield waiting[:size]
        waiting = waiting[size:]


def random_patches(patches: Tensor, rows: Tensor) -> Tensor:
    """One of the ten of each face asked for: (N, 5, H, W), (B,) -> (B, H, W)."""
    chosen = patches[rows, torch.randint(patches.shape[1], (len(rows),))]
    mirrored = torch.rand(len(rows)) < 0.5
    return torch.where(mirrored[:, None, None], chosen.flip(-1), chosen)


def _people_in_turn(subjects: Tensor) -> Tensor:
    """All positions, (N,): people in random order, the faces of each in random order."""
    shuffled = torch.randperm(len(subjects))
    people, place = torch.unique(subjects, return_inverse=True)
    turn = torch.randperm(len(people))[place]  # (N,) when each face's person comes
    return shuffled[turn[shuffled].argsort(stable=True)]


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
