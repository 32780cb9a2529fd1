"""Neutral faces: do they look alike for one person, and how much has to move for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facefactor import editing
from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import labelled, of_split, split_hash
from facefactor.errors import FaceFactorError
from facefactor.evaluation.consistency import motion, neutral_consistency
from facefactor.images import photos_to_faces
from facefactor.protocols.subject import Findings, Subject, suitable


@torch.inference_mode()
def neutral_faces(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Neutral faces of held-out people: two photos of one person against two people."""
    tables = []
    for name in suitable(folders, ("celeba", "lfw", "clips"), "neutral-consistency"):
        _, held_out = hold_out_people(READERS[name](folders[name]))
        cut = subject.cut(held_out)
        faces = photos_to_faces(cut.faces)
        neutral = torch.cat([_neutralise(subject.model, part) for part in torch.split(faces, 64)])
        names = [str(record.subject) for record in cut.records]
        table = neutral_consistency(neutral, faces, names, name, subject.name)
        tables.append(replace(table, split_hash=split_hash(held_out)))
    return Findings(tables)


def _neutralise(model: Any, faces: Tensor) -> Tensor:
    codes = model.encode(faces)
    neutral: Tensor = model.decode(editing.set_strength(codes, model, "expression", 0.0))
    return neutral


@torch.inference_mode()
def motion_asked_for(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Mean |flow| that neutralising asks for, on test faces that are not neutral."""
    model, tables = subject.model, []
    if not hasattr(model, "edit_flow"):
        raise FaceFactorError(f"{subject.name} moves no pixels; motion needs a model with a flow")
    for name in suitable(folders, ("rafdb", "fer2013", "ferplus"), "motion"):
        test = of_split(labelled(READERS[name](folders[name])), "test")
        cut = subject.cut([record for record in test if record.expression != "neutral"])
        faces = photos_to_faces(cut.faces)
        flows = []
        for part in torch.split(faces, 128):
            codes = model.encode(part)
            after = editing.set_strength(codes, model, "expression", 0.0)
            flows.append(model.edit_flow(codes, after))
        size = subject.header.spec.image_size
        table = motion(torch.cat(flows), size, f"{name} test, not neutral", subject.name)
        tables.append(replace(table, split_hash=split_hash(cut.records)))
    return Findings(tables)
