"""The figures of the five papers, row by row; `protocols.reproduce` puts ours beside them."""

from __future__ import annotations

from facefactor.protocols.published import facecycle, ipdfer, leed, neurotensorial, nfgan
from facefactor.protocols.published.rows import Answer, Extra, Paper, Row

__all__ = ["PAPERS", "Answer", "Extra", "Paper", "Row"]

PAPERS: dict[str, Paper] = {
    "facecycle": facecycle.PAPER,
    "neurotensorial": neurotensorial.PAPER,
    "leed": leed.PAPER,
    "nfgan": nfgan.PAPER,
    "ipdfer": ipdfer.PAPER,
}
