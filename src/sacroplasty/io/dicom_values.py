"""Stored DICOM pixels as values: rescaled slice by slice, padding as air, and doubts about either said."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sacroplasty.io.dicom_headers import Slice
from sacroplasty.io.gate import AIR_HU
from sacroplasty.io.raw import Array
from sacroplasty.io.verdict import Remark, rejected

# Padding is written outside the values of a body, HU; a declared value among them is no padding.
_BODY_HU = (-500.0, 3000.0)
# Neighbours of one body differ by noise and anatomy, whose median is near zero; a wrong rule shifts all of it, HU.
_LARGEST_SHIFT_HU = 50.0


def rescaled(planes: list[Slice], pixels: list[Array]) -> tuple[Array, tuple[Remark, ...]]:
    """Values (i, j, k): int16 where slope and intercept are whole numbers, else float32; declared padding is air.

    Warns where a CT's rule changes between slices or its padding lies among a body's values, and refuses (SAC-G030)
    a slice whose other rule does not fit its neighbour.
    """
    rules = [_rule(p) for p in planes]
    whole = all(float(v).is_integer() for rule in rules for v in rule)
    out = np.empty((len(planes), *pixels[0].shape), dtype=np.int16 if whole else np.float32)
    padded = kept = 0
    for n, (plane, frame) in enumerate(zip(planes, pixels, strict=True)):
        slope, intercept = rules[n]
        values = frame.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        if plane.modality == "CT" and plane.padding is not None:
            empty = (frame == plane.padding) & (values != AIR_HU)
            count = int(np.count_nonzero(empty))
            if _BODY_HU[0] < plane.padding * slope + intercept < _BODY_HU[1]:
                kept += count
            else:
                padded += count
                values[empty] = AIR_HU
        if whole and (values.max() > 32767 or values.min() < -32768):
            raise rejected("SAC-G030", "Rescaled values leave the 16-bit range", got=f"up to {values.max():.0f}")
        out[n] = values
    remarks = [Remark("SAC-G035", f"{padded} voxels declared as padding set to {AIR_HU} HU.")] if padded else []
    if kept:
        text = f"{kept} voxels are declared as padding but hold values of a body; they were left as they are."
        remarks.append(Remark("SAC-G039", text))
    return out.transpose(2, 1, 0), (*remarks, *_changing_rules(planes, rules, out))


def _rule(plane: Slice) -> tuple[float, float]:
    return 1.0 if plane.slope is None else plane.slope, plane.intercept or 0.0


def _changing_rules(planes: list[Slice], rules: list[tuple[float, float]], values: Array) -> tuple[Remark, ...]:
    """A warning where a CT's rescale rule changes between slices; refused where neighbours then do not fit."""
    if planes[0].modality != "CT" or len(set(rules)) == 1:
        return ()
    changes = [n for n, (one, other) in enumerate(pairwise(rules)) if one != other]
    for n in changes:
        one, other = values[n].astype(np.float32), values[n + 1].astype(np.float32)
        body = np.maximum(one, other) > _BODY_HU[0]
        shift = float(np.median((other - one)[body])) if body.any() else 0.0
        if abs(shift) > _LARGEST_SHIFT_HU:
            raise rejected(
                "SAC-G030",
                "The rescale rule changes between slices and does not fit",
                got=f"{shift:.0f} HU from {planes[n].path.name} to {planes[n + 1].path.name}",
                remedy="Export the original CT images",
            )
    return (Remark("SAC-G038", f"The rescale rule changes {len(changes)} times between slices."),)
