"""Dropout: a product with a mask of 0 and 1 / (1 - p), which the run keeps as a constant."""

from __future__ import annotations

from typing import Any

from .base import Record, short


def remark(r: Record, operands: list[Any]) -> list[str]:
    """What the mask did to this element; the mask is the second operand of the product."""
    mask = float(operands[1][0]) if hasattr(operands[1], "shape") else float(operands[1])
    if mask == 0:
        return ["dropped: the mask is 0 here in this run, and no gradient passes"]
    kept = "" if mask == 1 else f" and scaled by {short(mask)} = 1 / (1 - p) with p = {short(1 - 1 / mask)}"
    return [f"kept by the mask{kept}"]
