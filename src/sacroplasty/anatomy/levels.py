"""Which opening belongs to which sacral level, and where the bodies' borders are.

Anterior openings of both sides are grouped by arc length and numbered from the promontory; a posterior opening takes
the level of the anterior one it is linked with through the lumen, never of the one nearest by arc length.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sacroplasty.anatomy.expectation import FORAMINAL_LEVELS, Key, likelihood_of_arcs
from sacroplasty.anatomy.foramina import Opening
from sacroplasty.anatomy.roots import LumenWays
from sacroplasty.anatomy.structures import Face
from sacroplasty.plan import Level

# Anterior openings closer than this along the curve are one level.
GROUP_GAP_MM = 11.0
# How often a level's anterior foramina are found: 12, 10, 7 and 5 of twelve on six phantoms from the bare
# CT (docs/anatomy_sacrum.md), one found and one missed added. The caudal ones are small and close first.
FOUND_SHARE = {Level.S1: 13 / 14, Level.S2: 11 / 14, Level.S3: 8 / 14, Level.S4: 6 / 14}
# A way through the lumen longer than this is no link between the two mouths of one tunnel.
LONGEST_LINK_MM = 45.0


@dataclass(frozen=True, eq=False)
class Assignment:
    """Openings by level, side and face; what could not be assigned; the arc length of each level's pair; by how
    much (log-likelihood) this numbering beats the next best; and how many groups there are beyond four.
    """

    openings: dict[Key, Opening]
    unassigned: list[Opening]
    arcs_mm: dict[Level, float]
    margin: float
    surplus: int = 0


def assign_levels(openings: list[Opening], ways: LumenWays) -> Assignment:
    """The openings numbered from the promontory, the largest one where two compete for a place."""
    anterior = sorted((o for o in openings if o.face is Face.ANTERIOR), key=lambda o: float(o.coordinates[0]))
    posterior = [o for o in openings if o.face is Face.POSTERIOR]
    groups = _groups(anterior)
    numbering, margin = _numbering([float(np.mean([o.coordinates[0] for o in group])) for group in groups])
    level_of = {id(o): level for level, group in zip(numbering, groups, strict=False) for o in group}
    links = _links(anterior, posterior, ways)
    found: dict[Key, Opening] = {}
    unassigned = []
    for opening in [*anterior, *posterior]:
        partner = opening if opening.face is Face.ANTERIOR else links.get(id(opening))
        level = level_of.get(id(partner)) if partner is not None else None
        if level is None:
            unassigned.append(opening)
            continue
        key = (level, opening.side, opening.face)
        if key not in found or opening.area_mm2 > found[key].area_mm2:
            found[key] = opening
    arcs = {
        level: float(np.mean([o.coordinates[0] for o in group]))
        for level, group in zip(numbering, groups, strict=False)
    }
    return Assignment(found, unassigned, arcs, margin, max(len(groups) - len(FORAMINAL_LEVELS), 0))


def _numbering(arcs_mm: list[float]) -> tuple[tuple[Level, ...], float]:
    """Levels of the groups, cranial first, as they fit sacra best, and the lead over the next best numbering.

    Where two numberings fit alike, that one is likelier in which the levels without a group are those easily missed.
    More than four groups are numbered from the promontory; a fifth level is left without a name.
    """
    count = min(len(arcs_mm), len(FORAMINAL_LEVELS))
    if count == 0:
        return (), 0.0
    choices = list(combinations(FORAMINAL_LEVELS, count))
    fits = np.array([likelihood_of_arcs(dict(zip(choice, arcs_mm, strict=False))) for choice in choices])
    fits += [sum(np.log(p if level in choice else 1 - p) for level, p in FOUND_SHARE.items()) for choice in choices]
    best = int(fits.argmax())
    others = np.delete(fits, best)
    return choices[best], float(fits[best] - others.max()) if len(others) else np.inf


def _groups(anterior: list[Opening]) -> list[list[Opening]]:
    groups: list[list[Opening]] = []
    for opening in anterior:
        if groups and opening.coordinates[0] - np.mean([o.coordinates[0] for o in groups[-1]]) < GROUP_GAP_MM:
            groups[-1].append(opening)
        else:
            groups.append([opening])
    return groups


def _links(anterior: list[Opening], posterior: list[Opening], ways: LumenWays) -> dict[int, Opening]:
    """The anterior partner of each posterior opening: same side, shortest way through the lumen."""
    if not anterior or not posterior:
        return {}
    lengths = ways.lengths_mm([*anterior, *posterior])[len(anterior) :, : len(anterior)]
    links = {}
    for row, opening in enumerate(posterior):
        same_side = np.array([o.side is opening.side for o in anterior])
        way = np.where(same_side, lengths[row], np.inf)
        if way.min() < LONGEST_LINK_MM:
            links[id(opening)] = anterior[int(way.argmin())]
    return links
