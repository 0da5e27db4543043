"""Where foramina are to be expected: a Gaussian of all sixteen in sacral coordinates, conditioned on those found.

The mean is measured on open data; the covariance is built from what varies in sacra: overall size, the place of the
promontory, the height of each segment, the offset between front and back, and the two sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from sacroplasty.anatomy.structures import Face
from sacroplasty.evidence import value
from sacroplasty.plan import SACRAL_LEVELS, Level, Side

Array = npt.NDArray[np.float64]
Key = tuple[Level, Side, Face]

FORAMINAL_LEVELS = SACRAL_LEVELS[:4]
SIDES = (Side.RIGHT, Side.LEFT)
# A foramen farther than this (standard deviations) from where the others let expect it is none; so many must witness.
BELIEVABLE_SD, LEAST_WITNESSES = 4.0, 3
# An uncertainty is stated so that the ball it stands for holds the truth this often.
HELD_SHARE = 0.95
KEYS: tuple[Key, ...] = tuple((level, side, face) for level in FORAMINAL_LEVELS for side in SIDES for face in Face)


@dataclass(frozen=True)
class Expected:
    """Arc length and distance from the midline (both mm, the latter positive on either side) with one standard
    deviation each.
    """

    arc_mm: float
    lateral_mm: float
    arc_sd_mm: float
    lateral_sd_mm: float

    @property
    def sd_mm(self) -> float:
        """Standard deviation per axis of the round Gaussian whose 95 % ball holds as much as this long one's."""
        return round_sd_mm([self.arc_sd_mm, self.lateral_sd_mm, value("assumptions.foramen_depth_sd")])


def round_sd_mm(spreads_mm: Sequence[float]) -> float:
    """Standard deviation per axis of the round Gaussian in space with the same 95 % radius as one with these spreads
    (mm) along its axes; the sum of squares is taken as a scaled chi-square of the same mean and variance.
    """
    squares = np.square(np.asarray(spreads_mm, dtype=np.float64))
    scale = float((squares**2).sum() / squares.sum())
    radius = np.sqrt(scale * stats.chi2.ppf(HELD_SHARE, squares.sum() / scale))
    return float(radius / np.sqrt(stats.chi2.ppf(HELD_SHARE, 3)))


def expected_foramina(found: Mapping[Key, tuple[float, float]]) -> dict[Key, Expected]:
    """What to expect of each foramen, given arc length and distance from the midline of those found."""
    known = [n for n, key in enumerate(KEYS) if key in found]
    arcs, laterals = (
        _conditioned(mean, covariance, known, np.array([found[KEYS[n]][axis] for n in known]))
        for axis, (mean, covariance) in enumerate((_arc_model(), _lateral_model()))
    )
    return {
        key: Expected(float(arcs[0][n]), float(laterals[0][n]), float(arcs[1][n]), float(laterals[1][n]))
        for n, key in enumerate(KEYS)
    }


def improbable(places: Mapping[Key, tuple[float, float]]) -> set[Key]:
    """Foramina, given as arc length and distance from the midline (mm), that lie where those of no sacrum do, judged by
    all others: taken out one by one, the farthest first, because one that is wrong makes its neighbours look so.
    """
    left = dict(places)
    while len(left) > LEAST_WITNESSES:
        off = {}
        for key, place in left.items():
            e = expected_foramina({other: left[other] for other in left if other != key})[key]
            off[key] = max(abs(place[0] - e.arc_mm) / e.arc_sd_mm, abs(place[1] - e.lateral_mm) / e.lateral_sd_mm)
        worst = max(off, key=lambda key: off[key])
        if off[worst] <= BELIEVABLE_SD:
            break
        del left[worst]
    return set(places) - set(left)


def likelihood_of_arcs(arcs_mm: Mapping[Level, float]) -> float:
    """Log-likelihood of the arc lengths of the levels' anterior pairs: how well a numbering of levels fits a sacrum."""
    mean, covariance = _arc_model()
    pairs = np.array([[0.5 * (key[0] is level and key[2] is Face.ANTERIOR) for key in KEYS] for level in arcs_mm])
    off = np.array(list(arcs_mm.values())) - pairs @ mean
    spread = pairs @ covariance @ pairs.T
    return float(-0.5 * (off @ np.linalg.solve(spread, off) + np.linalg.slogdet(2 * np.pi * spread)[1]))


def _conditioned(mean: Array, covariance: Array, known: list[int], values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of a Gaussian, given some of its values with their measurement noise."""
    if not known:
        return mean, np.sqrt(np.diag(covariance))
    noise = value("anatomy.foramen_measured_sd") ** 2
    block = covariance[np.ix_(known, known)] + noise * np.eye(len(known))
    gain = np.linalg.solve(block, covariance[known]).T
    updated = mean + gain @ (values - mean[known])
    left = covariance - gain @ covariance[known]
    return updated, np.sqrt(np.maximum(np.diag(left), 0.0))


def _mean(quantity: str) -> Array:
    return np.array([value(f"anatomy.{level.lower()}_{face}_foramen_{quantity}") for level, _, face in KEYS])


def _same(*parts: int) -> Array:
    """1 where two foramina share the named parts of their key (0 level, 1 side, 2 face)."""
    return np.array([[float(all(a[p] == b[p] for p in parts)) for b in KEYS] for a in KEYS])


def _arc_model() -> tuple[Array, Array]:
    mean = _mean("arc")
    order = np.array([FORAMINAL_LEVELS.index(level) for level, _, _ in KEYS])
    shared_heights = np.minimum(order[:, None], order[None, :])
    posterior = np.array([float(face is Face.POSTERIOR) for _, _, face in KEYS])
    covariance = (
        (value("anatomy.sacrum_size_sd") * mean)[:, None] * (value("anatomy.sacrum_size_sd") * mean)[None, :]
        + value("anatomy.promontory_to_s1_sd") ** 2
        + value("anatomy.segment_height_sd") ** 2 * shared_heights
        + value("anatomy.front_back_arc_sd") ** 2 * (0.5 + 0.5 * _same(0)) * np.outer(posterior, posterior)
        + value("anatomy.foramen_asymmetry_sd") ** 2 * _same(0, 1)
        + value("anatomy.foramen_own_sd") ** 2 * _same(0, 1, 2)
    )
    return mean, covariance


def _lateral_model() -> tuple[Array, Array]:
    mean = _mean("from_midline")
    scaled = value("anatomy.sacrum_size_sd") * mean
    covariance = (
        np.outer(scaled, scaled)
        + value("anatomy.foramen_lateral_level_sd") ** 2 * _same(0, 2)
        + value("anatomy.foramen_asymmetry_sd") ** 2 * _same(0, 1)
        + value("anatomy.foramen_own_sd") ** 2 * _same(0, 1, 2)
    )
    return mean, covariance
