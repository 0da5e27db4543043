"""The sacrum around a lesion as arrays: density, bone envelope, sacral coordinates, levels and Denis zones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import Anatomy, Face
from sacroplasty.evidence import value
from sacroplasty.plan import Level, Side
from sacroplasty.space import Box, Grid, LabelMap, Volume

# Rim around the bone that a soft-tissue part or a neighbouring bone may fill, and that smoothing needs.
MARGIN_MM = 8.0
# A destroyed part may be missing from a mask that was made from density; gaps up to twice this are bridged.
CLOSING_MM = 3.0
# Cortex lies within this depth; marrow begins below it.
CORTEX_MM = 2.2

# Fine mosaic survives, voxel noise does not.
SMOOTHING_MM = 0.8
# A Gaussian ends after this many standard deviations.
TRUNCATED = 4.0

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def box_of(mask: Bools, spacing_mm: float, margin_mm: float) -> tuple[slice, slice, slice]:
    """The part of the array that holds a mask and a margin around it; nothing of it where the mask is empty."""
    reach = math.ceil(margin_mm / spacing_mm)
    found: list[slice] = []
    part = mask
    for axis in range(3):
        here = np.flatnonzero(part.any(axis=tuple({0, 1, 2} - {axis})))
        found.append(slice(max(int(here[0]) - reach, 0), int(here[-1]) + reach + 1) if len(here) else slice(0, 0))
        part = part[(slice(None),) * axis + (slice(here[0], here[-1] + 1) if len(here) else slice(0, 0),)]
    return found[0], found[1], found[2]


def distance_mm(inside: Bools, spacing_mm: float) -> npt.NDArray[np.float32]:
    """Distance of every true voxel to the nearest false one, 0 where false; the rim of the array is no border."""
    result = np.zeros(inside.shape, np.float32)
    box = box_of(inside, spacing_mm, spacing_mm)
    if inside[box].size:
        spacing = (spacing_mm, spacing_mm, spacing_mm)
        result[box] = edt.edt(np.ascontiguousarray(inside[box]), anisotropy=spacing, black_border=False)
    return result


def within_mm(mask: Bools, spacing_mm: float, reach_mm: float) -> Bools:
    """The voxels within a distance of a mask, the mask included."""
    result = np.zeros(mask.shape, np.bool_)
    box = box_of(mask, spacing_mm, reach_mm)
    if mask[box].size:
        result[box] = distance_mm(~mask[box], spacing_mm) <= reach_mm
    return result


def filled(mask: Bools) -> Bools:
    """The mask with every hole that does not reach the rim of the array filled."""
    parts, count = ndimage.label(~mask)
    open_ = np.zeros(count + 1, np.bool_)
    for axis in range(3):
        for side in (0, -1):
            open_[np.unique(parts.take(side, axis))] = True
    open_[0] = False
    return np.asarray(~open_[parts])


def shifted(mask: Bools, step: tuple[int, ...]) -> Bools:
    """The mask moved by whole voxels; what comes in from beyond the rim is false."""
    result = np.zeros(mask.shape, np.bool_)
    source = tuple(slice(max(-n, 0), min(-n, 0) or None) for n in step)
    target = tuple(slice(max(n, 0), min(n, 0) or None) for n in step)
    result[target] = mask[source]
    return result


@dataclass(frozen=True, eq=False)
class Region:
    """The box of the sacrum on the anatomy's grid: HU (i, j, k), labels, and the sacral coordinates of every voxel.

    `coarsest_mm` is the longest edge of the CT's own voxels, most often the slice: finer detail was not measured.
    `half_slice` (3,) is half of what that edge is longer than the grid's voxels, as a way in the grid's voxels.
    """

    anatomy: Anatomy
    box: Box
    hu: npt.NDArray[np.float32]
    labels: LabelMap
    coarsest_mm: float
    half_slice: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def grid(self) -> Grid:
        """The cropped grid."""
        return self.labels.grid

    @property
    def spacing_mm(self) -> float:
        """Voxel size; the anatomy's grid is isotropic."""
        return self.grid.spacing_mm[0]

    @cached_property
    def smooth_hu(self) -> npt.NDArray[np.float32]:
        """HU after a Gaussian of SMOOTHING_MM; voxels without data (-1024) keep their neighbours clean."""
        known, sigma = self.hu > -1000, SMOOTHING_MM / self.spacing_mm
        smooth = np.asarray(ndimage.gaussian_filter(np.where(known, self.hu, np.float32(0)), sigma))
        # Elsewhere every neighbour counts.
        box = box_of(~known, self.spacing_mm, TRUNCATED * SMOOTHING_MM + self.spacing_mm)
        weight = ndimage.gaussian_filter(known[box].astype(np.float32), sigma, truncate=TRUNCATED)
        smooth[box] = np.where(weight > 0.05, smooth[box] / np.maximum(weight, 0.05), -1024.0)
        return smooth

    @cached_property
    def sacrum(self) -> Bools:
        """The sacrum as labelled."""
        return np.asarray(self.labels.mask("sacrum").array)

    @cached_property
    def lumen(self) -> Bools:
        """Canal and root tunnels."""
        names = [name for name in ("canal", "root_tunnel") if name in self.labels.values]
        return np.asarray(self.labels.mask(*names).array)

    @cached_property
    def envelope(self) -> Bools:
        """The sacrum with holes and narrow gaps filled, canal and root tunnels left out."""
        # What is bridged lies between parts of the sacrum, so within its box.
        box = box_of(self.sacrum, self.spacing_mm, CLOSING_MM + self.spacing_mm)
        outside = distance_mm(~self.sacrum[box], self.spacing_mm) > CLOSING_MM
        closed = self.sacrum.copy()
        closed[box] |= distance_mm(~outside, self.spacing_mm) > CLOSING_MM
        free = self.labels.array == 0
        return np.asarray(self.sacrum | (filled(closed) & free))

    @cached_property
    def depth_mm(self) -> npt.NDArray[np.float32]:
        """Distance of each voxel inside the envelope from its surface."""
        return distance_mm(self.envelope, self.spacing_mm)

    @cached_property
    def clear_depth_mm(self) -> npt.NDArray[np.float32]:
        """The same below the surface that the slices show: a voxel that its slice averages with the outside is at 0."""
        steps = self.slice_steps
        if not steps:
            return self.depth_mm
        inside = self.envelope.copy()
        for step in steps:
            inside &= shifted(self.envelope, step) & shifted(self.envelope, tuple(-n for n in step))
        return distance_mm(inside, self.spacing_mm)

    @cached_property
    def slice_steps(self) -> tuple[tuple[int, ...], ...]:
        """Whole steps from a voxel's centre to the end of its slice; none where slices are as thin as the grid."""
        longest = max(round(abs(n)) for n in self.half_slice)
        return tuple(tuple(round(n * step / longest) for n in self.half_slice) for step in range(1, longest + 1))

    @cached_property
    def coordinates(self) -> tuple[npt.NDArray[np.float32], ...]:
        """Arc length s, offset x to the left and depth d, mm, each (i, j, k): of bone and lumen, NaN elsewhere."""
        here = self.envelope | self.lumen
        points = self.grid.patient_from_voxel.points(np.argwhere(here))
        result = np.full((3, *self.grid.shape), np.nan, np.float32)
        result[:, here] = self.anatomy.frame.coordinates(points).T
        return result[0], result[1], result[2]

    @cached_property
    def level_index(self) -> npt.NDArray[np.int8]:
        """Place in `anatomy.levels` of every voxel's level by arc length, -1 where there is none."""
        s = self.coordinates[0]
        result = np.full(s.shape, -1, np.int8)
        for n, level in enumerate(self.anatomy.levels):
            if level.state.known:
                result[(s >= level.upper_arc_mm) & (s < level.lower_arc_mm)] = n
        # A lesion's upper rim rises above the promontory's arc at the endplate; it still belongs to S1.
        first = next((n for n, lv in enumerate(self.anatomy.levels) if lv.level is Level.S1), None)
        if first is not None:
            result[(s < self.anatomy.levels[first].upper_arc_mm) & (s > -CLOSING_MM * 4)] = first
        return result

    @cached_property
    def zone(self) -> npt.NDArray[np.int8]:
        """Denis zone (1, 2, 3) of the bone: lateral to, between the rims of, medial to the anterior foramina."""
        s, x, _ = self.coordinates
        result = np.zeros(s.shape, np.int8)
        for side, here in ((Side.LEFT, x >= 0), (Side.RIGHT, x < 0)):
            arcs, medial, lateral = self._foramen_rims(side)
            across = np.abs(x[here])
            inner, outer = np.interp(s[here], arcs, medial), np.interp(s[here], arcs, lateral)
            result[here] = np.where(across < inner, 3, np.where(across < outer, 2, 1))
        return result

    def _foramen_rims(self, side: Side) -> tuple[Floats, Floats, Floats]:
        """Arc lengths of a side's anterior foramina with the |x| of their medial and lateral rims."""
        rows = []
        for foramen in self.anatomy.foramina:
            if foramen.face is Face.ANTERIOR and foramen.side is side and foramen.state.known:
                s, x, _ = self.anatomy.frame.coordinates(foramen.centre_mm)
                rows.append((s, abs(x) - foramen.width_mm / 2, abs(x) + foramen.width_mm / 2))
        if not rows:
            middle = value("assumptions.foramen_middle_mm")
            half = value("assumptions.foramen_half_width_mm")
            rows = [(0.0, middle - half, middle + half)]
        table = np.array(sorted(rows))
        return table[:, 0], table[:, 1], table[:, 2]

    @cached_property
    def behind_body(self) -> Bools:
        """Voxels at or dorsal of the canal's front wall: pedicles, laminae, articular processes."""
        s, _, d = self.coordinates
        canal = self.labels.mask("canal").array if self.labels.has("canal") else np.zeros(s.shape, bool)
        if not canal.any():
            return np.zeros(s.shape, np.bool_)
        bins = np.round(s[canal]).astype(int)
        arcs = np.unique(bins)
        front = ndimage.minimum(d[canal], bins, arcs)
        return np.asarray(d >= np.interp(s, arcs, front))

    @cached_property
    def element(self) -> npt.NDArray[np.int8]:
        """Of bone, three for each place in `anatomy.levels`: its body, its posterolateral part left and right; else -1.

        Posterolateral is what lies at or behind the canal's front wall and not lateral to the foramina.
        """
        behind = self.behind_body
        part = np.where(behind, np.where(self.coordinates[1] >= 0, 1, 2), 0).astype(np.int8)
        counted = self.envelope & (self.level_index >= 0) & np.where(behind, self.zone >= 2, self.zone == 3)
        return np.where(counted, self.level_index * np.int8(3) + part, np.int8(-1))

    @cached_property
    def element_voxels(self) -> npt.NDArray[np.int64]:
        """Voxels of every `element`, those of none first."""
        return np.bincount(self.element.ravel() + 1, minlength=3 * len(self.anatomy.levels) + 1)


def region_of(ct: Volume, anatomy: Anatomy, extra_mm: npt.ArrayLike | None = None) -> Region:
    """The box that holds the sacrum, and the positions (n, 3) of `extra_mm`, with a margin; CT resampled onto it.

    Raises AnatomyError where there is no sacrum, GeometryError where CT and anatomy lie in different frames.
    """
    bone = anatomy.labels.mask("sacrum").require_any("sacrum").array
    spans = [np.flatnonzero(bone.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    corners = np.array([[span[0] for span in spans], [span[-1] for span in spans]], dtype=np.float64)
    points = anatomy.labels.grid.patient_from_voxel.points(corners)
    if extra_mm is not None:
        points = np.vstack([points, np.asarray(extra_mm, dtype=np.float64).reshape(-1, 3)])
    box = anatomy.labels.grid.box_around(points, MARGIN_MM)
    labels = anatomy.labels.cropped(box)
    hu = ct.cropped(box) if ct.grid.same_as(anatomy.labels.grid) else ct.resampled(labels.grid)
    coarsest = int(np.argmax(ct.grid.spacing_mm))
    excess_mm = max(ct.grid.spacing_mm[coarsest] - labels.grid.spacing_mm[0], 0.0)
    along = np.eye(3)[coarsest] * excess_mm / 2 / ct.grid.spacing_mm[coarsest]
    half = labels.grid.voxel_from_patient.vectors(ct.grid.patient_from_voxel.vectors(along))
    return Region(
        anatomy, box, np.asarray(hu.array, dtype=np.float32), labels, max(ct.grid.spacing_mm),
        (float(half[0]), float(half[1]), float(half[2])),
    )  # fmt: skip
