"""Stacks: slices of one patient, study, series, frame of reference, orientation, matrix and kernel. Never merged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sacroplasty.io.dicom_headers import Slice
from sacroplasty.io.verdict import Remark, rejected
from sacroplasty.space import Points

# Fewer planes than this are reference images, not a volume.
MINIMUM_SLICES = 5
# Direction cosines that differ by more belong to another orientation.
ORIENTATION_TOLERANCE = 1e-3
# Slices whose positions differ by less lie at one place, mm.
SAME_PLACE_MM = 0.01


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices that belong together, in the order of their position along the normal."""

    identifier: str
    slices: tuple[Slice, ...]

    @property
    def first(self) -> Slice:
        """The slice that lies first along the normal."""
        return self.slices[0]

    @property
    def can_be_volume(self) -> bool:
        """Enough slices, CT or MR, none of them a scout."""
        first = self.first
        return len(self.slices) >= MINIMUM_SLICES and first.modality in {"CT", "MR"} and not first.is_scout

    def describe(self) -> str:
        """Identifier, count, matrix and description in one line."""
        first = self.first
        scout = ", scout" if first.is_scout else ""
        text = f"{len(self.slices)} {first.modality} images of {first.columns}x{first.rows}{scout}"
        return f"{self.identifier}: {text}" + (f", {first.description}" if first.description else "")


def stacks_of(slices: list[Slice]) -> tuple[Stack, ...]:
    """Every stack, largest first; stacks of one series that has several are called SERIES#1, SERIES#2 ..."""
    groups: dict[tuple[object, ...], list[list[Slice]]] = defaultdict(list)
    for one in slices:
        spacing = None if one.spacing is None else tuple(round(s, 4) for s in one.spacing)
        key = (one.patient, one.study, one.series, one.frame_of_reference, one.modality, one.is_scout)
        families = groups[*key, one.rows, one.columns, spacing, one.kernel]
        for family in families:
            if _same_orientation(family[0], one):
                family.append(one)
                break
        else:
            families.append([one])
    parted = [part for families in groups.values() for family in families for part in _parted(family)]
    parted.sort(key=lambda part: (-len(part), part[0].series, str(part[0].path), part[0].frame or 0))
    return tuple(_named(parted))


def _named(parted: list[list[Slice]]) -> list[Stack]:
    in_series: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for part in parted:
        total[part[0].series] += 1
    named = []
    for part in parted:
        series = part[0].series
        in_series[series] += 1
        suffix = f"#{in_series[series]}" if total[series] > 1 else ""
        named.append(Stack(series + suffix, tuple(part)))
    return named


def _same_orientation(a: Slice, b: Slice) -> bool:
    if a.orientation is None or b.orientation is None:
        return a.orientation is b.orientation
    if (a.position is None) != (b.position is None):
        return False
    return bool(np.abs(np.subtract(a.orientation, b.orientation)).max() <= ORIENTATION_TOLERANCE)


def heights_mm(slices: list[Slice] | tuple[Slice, ...]) -> Points:
    """Place of every slice along the normal of the first, mm; zeros where positions are missing."""
    first = slices[0]
    if first.orientation is None or any(s.position is None for s in slices):
        return np.zeros(len(slices))
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    return np.asarray(np.array([s.position for s in slices]) @ normal)


def _parted(family: list[Slice]) -> list[list[Slice]]:
    """One part per stack that an enhanced file declares, each parted again by acquisition."""
    declared: dict[str, list[Slice]] = defaultdict(list)
    for one in family:
        declared[one.stack].append(one)
    if min(map(len, declared.values())) < MINIMUM_SLICES:
        # Some writers number every frame as a stack of its own.
        return _by_acquisition(family)
    return [part for stack in declared.values() for part in _by_acquisition(stack)]


def _by_acquisition(family: list[Slice]) -> list[list[Slice]]:
    """The family in order of position; where every place is taken several times, one part per acquisition."""
    heights = heights_mm(family)
    order = sorted(range(len(family)), key=lambda n: (heights[n], family[n].acquisition, str(family[n].path), n))
    ordered = [family[n] for n in order]
    if not (np.diff(heights[order]) < SAME_PLACE_MM).any():
        return [ordered]
    acquisitions: dict[str, list[Slice]] = defaultdict(list)
    for one in ordered:
        acquisitions[one.acquisition].append(one)
    parts = list(acquisitions.values())
    separate = len(parts) > 1 and all((np.diff(heights_mm(part)) >= SAME_PLACE_MM).all() for part in parts)
    return parts if separate and min(map(len, parts)) >= MINIMUM_SLICES else [ordered]


def require_unmixed(stacks: tuple[Stack, ...]) -> None:
    """Refuse series whose files name several patients, studies or frames of reference."""
    by_series: dict[str, list[Slice]] = defaultdict(list)
    for stack in stacks:
        by_series[stack.first.series].append(stack.first)
    for members in by_series.values():
        for field, code, words in (
            ("patient", "SAC-G011", "patients"),
            ("study", "SAC-G011", "studies"),
            ("frame_of_reference", "SAC-G012", "frames of reference"),
        ):
            count = len({getattr(member, field) for member in members})
            if count > 1:
                raise rejected(
                    code,
                    f"One series holds images of {count} {words}",
                    got=f"{count} {words}",
                    remedy="Export the one series again from the archive; such images are never merged",
                )


def chosen_stack(
    stacks: tuple[Stack, ...], series: str | None, modality: str | None
) -> tuple[Stack, tuple[Remark, ...]]:
    """The one stack of a modality that can be a volume, or the one that `series` names, and remarks on its series."""
    require_unmixed(stacks)
    candidates = [s for s in stacks if s.can_be_volume and s.first.modality == (modality or s.first.modality)]
    if series is not None:
        candidates = [s for s in candidates if series in {s.identifier, s.first.series}]
    if len(candidates) != 1:
        listing = "; ".join(s.describe() for s in stacks[:8])
        if not candidates and series is None:
            code, what = "SAC-G016", f"No {modality or 'CT or MR'} stack of at least {MINIMUM_SLICES} slices was found"
            remedy = f"Point at the folder of the {modality or 'CT'} series"
        else:
            code, what = "SAC-G010", "The series is not clear"
            remedy = "Choose one with --series and its identifier"
        raise rejected(code, what, got=listing, remedy=remedy)
    chosen = candidates[0]
    aside = [s for s in stacks if s is not chosen and s.first.series == chosen.first.series]
    return chosen, tuple(_aside(s) for s in aside)


def _aside(stack: Stack) -> Remark:
    names = ", ".join(sorted({s.path.name for s in stack.slices})[:4])
    kind = "scout" if stack.first.is_scout else "of another orientation, matrix or kind"
    count = "1 image" if len(stack.slices) == 1 else f"{len(stack.slices)} images"
    return Remark("SAC-G013", f"{count} of the series set aside ({kind}): {names}.")


def unreadable_remark(paths: list[Path]) -> tuple[Remark, ...]:
    """A warning that names files which look like DICOM but could not be read."""
    if not paths:
        return ()
    names = ", ".join(p.name for p in paths[:5])
    return (Remark("SAC-G006", f"{len(paths)} files could not be read as DICOM: {names}."),)
