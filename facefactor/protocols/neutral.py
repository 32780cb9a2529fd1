"""Neutral faces: do they look alike for one person, and how much has to move for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from facefactor import editing, neutralising
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
    editing.check_factor(subject.header.spec, "expression")  # not the normalised faces of others
    tables = []
    for name in suitable(folders, ("celeba", "lfw", "clips"), "neutral-consistency"):
        _, held_out = hold_out_people(READERS[name](folders[name]))
        cut = subject.cut(held_out)
        faces = photos_to_faces(cut.faces)
        parts = torch.split(faces, 64)
        neutral = torch.cat([neutralising.neutral_faces(subject.model, part) for part in parts])
        names = [str(record.subject) for record in cut.records]
        table = neutral_consistency(neutral, faces, names, name, subject.name)
        tables.append(replace(table, split_hash=split_hash(held_out)))
    return Findings(tables)


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
