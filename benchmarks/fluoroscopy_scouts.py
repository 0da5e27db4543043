"""Real projections: the two scouts of a real patient laid on the CT, against the pose that their DICOM headers state.

A scout is no C-arm shot: a fan within each axial plane and parallel along the table, with 1 mm pixels and little
contrast. So the rays are made here, the bone, the gradient features, the search and the least squares are those of the
registration. The distance from the source to the axis is not in the headers; it is assumed (`--distance`), the pose
is found for each start with it fixed, and once more with it free. Target error: mean over a grid of +-40 mm about the
sacrum between where the found pose and the stated pose put a point. Starts are drawn within +-3 degrees and 6 mm per
axis, +-5 degrees and 10 mm, +-10 degrees and 20 mm. CT and scouts were taken minutes apart; how far the patient moved
between is not known.

    PYTHONPATH=src python benchmarks/fluoroscopy_scouts.py [--starts 4] [--distance 600]

Prints a table and writes benchmarks/fluoroscopy_scouts.csv, row by row. Scan: taichi2018Jan_ctscan (CC0).
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numba import njit
from scipy.optimize import least_squares

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.data import data_root  # noqa: E402

from sacroplasty.fluoroscopy.alignment import rigid  # noqa: E402
from sacroplasty.fluoroscopy.search import Search, minimised  # noqa: E402
from sacroplasty.fluoroscopy.similarity import Likeness, binned  # noqa: E402
from sacroplasty.io import read_ct  # noqa: E402
from sacroplasty.space import Volume  # noqa: E402

Row = dict[str, object]
CENTRE_MM = (0.0, 55.0, -1242.0)
# Rows this far inside the CT's upper and lower ends are compared, so that a moved CT still covers them.
RIM_MM = 25.0
HALF_WIDTH_MM = 110.0
# The scanner writes this where the scout had ended.
PADDING = -2000.0
RANGES = ((3.0, 6.0), (5.0, 10.0), (10.0, 20.0))  # degrees and mm per axis
GRID_MM = 40.0
DISTANCE_SPREAD_MM = 60.0
# Global searches from each start; the best goes on.
SEARCHES = 3


@dataclass(frozen=True)
class Scout:
    """A scout's part over the CT: pixels (rows, columns) 1 mm apart in the plane through the scanner's axis.

    `first_mm` is the patient position of its first pixel, `across` the direction of its columns' axis, `side` where
    the source stands; rows run footwards.
    """

    name: str
    pixels: np.ndarray
    first_mm: np.ndarray
    across: np.ndarray
    side: np.ndarray
    step_mm: float = 1.0

    def coarser(self, factor: int) -> Scout:
        """The same with larger pixels."""
        shift = (factor - 1) / 2 * self.step_mm
        first = self.first_mm + shift * (self.across + np.array([0.0, 0.0, -1.0]))
        return Scout(self.name, binned(self.pixels, factor), first, self.across, self.side, self.step_mm * factor)


def scouts(low_mm: float, high_mm: float) -> list[Scout]:
    """Both scouts, cut to the rows that the CT covers and to the columns about the spine."""
    found = []
    for file in sorted((data_root() / "taichi" / "dicom" / "scout").glob("*.dcm")):
        data = pydicom.dcmread(file)
        origin = np.array(data.ImagePositionPatient, dtype=float)
        row, column = np.array(data.ImageOrientationPatient, dtype=float).reshape(2, 3)
        spacing = float(data.PixelSpacing[0])
        pixels = data.pixel_array.astype(np.float32) * float(data.RescaleSlope) + float(data.RescaleIntercept)
        if abs(row[2]) > 0.5:
            # The table's axis runs along the columns: turn the picture so that it runs along the rows.
            pixels, row, column = pixels.T, column, row
        places = origin[None] + spacing * np.arange(max(pixels.shape))[:, None] * row
        names = ("AP", "lateral")
        name = names[int(abs(row[1]) > 0.5)]
        across = places @ np.abs(row) - np.asarray(CENTRE_MM) @ np.abs(row)
        rows = origin[2] + spacing * np.arange(pixels.shape[0]) * column[2]
        taken = (pixels > PADDING).mean(axis=1) > 0.5
        take_r = np.flatnonzero((rows < high_mm) & (rows > low_mm) & taken)
        take_c = np.flatnonzero(np.abs(across[: pixels.shape[1]]) < HALF_WIDTH_MM)
        first = origin + spacing * (take_c[0] * row + take_r[0] * column)
        cut = pixels[take_r[0] : take_r[-1] + 1, take_c[0] : take_c[-1] + 1]
        # Where the tube stood is not written; from the other side both scouts fit the CT worse at the stated pose.
        side = np.array([0.0, -1.0, 0.0]) if name == "AP" else np.array([1.0, 0.0, 0.0])
        found.append(Scout(name, cut, first, row, side, spacing))
    return found


@njit(cache=True, fastmath=True)
def _sums(volume, inverse, first, across, down, source_offset, rows, columns, step_mm, reach_mm, sample_mm):
    """Sums along rays in a fan within each row; `inverse` carries patient mm to voxels of the moved CT."""
    out = np.zeros((rows, columns), np.float32)
    samples = int(2 * reach_mm / sample_mm)
    nx, ny, nz = volume.shape
    for r in range(rows):
        for c in range(columns):
            pixel = first + step_mm * (c * across + r * down)
            source = source_offset.copy()
            source[2] = pixel[2]
            direction = pixel - source
            direction = direction / np.sqrt((direction**2).sum())
            total = 0.0
            for k in range(samples):
                p = pixel + (k * sample_mm - reach_mm) * direction
                x = inverse[0, 0] * p[0] + inverse[0, 1] * p[1] + inverse[0, 2] * p[2] + inverse[0, 3]
                y = inverse[1, 0] * p[0] + inverse[1, 1] * p[1] + inverse[1, 2] * p[2] + inverse[1, 3]
                z = inverse[2, 0] * p[0] + inverse[2, 1] * p[1] + inverse[2, 2] * p[2] + inverse[2, 3]
                i, j, m = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
                if 0 <= i < nx - 1 and 0 <= j < ny - 1 and 0 <= m < nz - 1:
                    a, b, d = x - i, y - j, z - m
                    v00 = volume[i, j, m] * (1 - a) + volume[i + 1, j, m] * a
                    v10 = volume[i, j + 1, m] * (1 - a) + volume[i + 1, j + 1, m] * a
                    v01 = volume[i, j, m + 1] * (1 - a) + volume[i + 1, j, m + 1] * a
                    v11 = volume[i, j + 1, m + 1] * (1 - a) + volume[i + 1, j + 1, m + 1] * a
                    total += (v00 * (1 - b) + v10 * b) * (1 - d) + (v01 * (1 - b) + v11 * b) * d
            out[r, c] = total * sample_mm
    return out


def projected(bone: Volume, scout: Scout, parameters: np.ndarray, distance_mm: float) -> np.ndarray:
    """The bone, moved by six parameters, as this scout would show it."""
    moved = rigid(parameters, CENTRE_MM).matrix @ bone.grid.patient_from_voxel.matrix
    return _sums(
        np.asarray(bone.array), np.linalg.inv(moved), scout.first_mm, scout.across, np.array([0.0, 0.0, -1.0]),
        scout.side * distance_mm, *scout.pixels.shape, scout.step_mm, 130.0, 0.8 * max(scout.step_mm, 1.0),
    )  # fmt: skip


class Level:
    """Both scouts and the bone at one resolution."""

    def __init__(self, bone: Volume, shots: list[Scout], factor: int) -> None:
        self.shots = [shot.coarser(factor) if factor > 1 else shot for shot in shots]
        self.bone = bone.resampled(bone.grid.resized(float(factor)), outside=0.0) if factor > 1 else bone
        self.likenesses = [Likeness(shot.pixels) for shot in self.shots]

    def difference(self, parameters: np.ndarray, distance_mm: float) -> np.ndarray:
        """All feature differences."""
        pairs = zip(self.likenesses, self.shots, strict=True)
        return np.concatenate(
            [one.difference(projected(self.bone, shot, parameters, distance_mm)) for one, shot in pairs]
        )

    def mismatch(self, parameters: np.ndarray, distance_mm: float) -> float:
        """One minus the mean gradient correlation."""
        pairs = zip(self.likenesses, self.shots, strict=True)
        return float(
            np.mean([one.mismatch(projected(self.bone, shot, parameters, distance_mm)) for one, shot in pairs])
        )


def found_pose(
    levels: list[Level], start: np.ndarray, spread: np.ndarray, distance_mm: float, *, free: bool, seed: int
) -> np.ndarray:
    """Six parameters and the distance: global search on the coarsest level, least squares on the finer ones."""
    how = Search(spread, population=20, iterations=40)
    tries = (
        minimised(lambda p: levels[0].mismatch(p, distance_mm), start, how, seed + 100 * n) for n in range(SEARCHES)
    )
    _, pose = min(tries, key=lambda found: found[0])
    x = np.append(pose, distance_mm)
    for level in levels[1:]:

        def residual(p: np.ndarray, level: Level = level) -> np.ndarray:
            far = (p[6] if free else distance_mm) if len(p) > 6 else distance_mm
            misses = level.difference(p[:6], far)
            return np.append(misses, (p[6] - distance_mm) / DISTANCE_SPREAD_MM * 0.02) if free else misses

        begin = x if free else x[:6]
        scale = np.array([1.0] * 3 + [1.5] * 3 + [30.0])[: len(begin)]
        steps = np.array([0.15] * 3 + [0.25] * 3 + [5.0])[: len(begin)]
        solved = least_squares(
            residual,
            begin,
            x_scale=scale,
            diff_step=steps / np.maximum(np.abs(begin), 1e-9),
            loss="linear",
            max_nfev=12,
        ).x
        x = solved if free else np.append(solved, distance_mm)
    return x


def target_error_mm(parameters: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean distance of moved grid points from where the stated pose puts them, and the mean move (3,)."""
    ends = np.array([-GRID_MM, 0.0, GRID_MM])
    points = np.array(CENTRE_MM) + np.stack(np.meshgrid(ends, ends, ends), axis=-1).reshape(-1, 3)
    moved = rigid(parameters, CENTRE_MM).points(points) - points
    return float(np.linalg.norm(moved, axis=1).mean()), moved.mean(axis=0)


def row(levels: list[Level], reach: tuple[float, float], distance_mm: float, seed: int, *, free: bool) -> Row:
    """One start: drawn, registered, compared with the stated pose."""
    rng = np.random.default_rng(seed)
    ends = np.repeat(reach, 3)
    start = rng.uniform(-ends, ends)
    began = time.process_time()
    x = found_pose(levels, start, ends / 2, distance_mm, free=free, seed=seed)
    error, shift = target_error_mm(x[:6])
    turns = {f"turn_{axis}_deg": round(angle, 2) for axis, angle in zip("xyz", x[:3], strict=True)}
    return {
        "within_deg": reach[0], "within_mm": reach[1], "distance": "free" if free else "fixed", "seed": seed,
        "start_mm": round(target_error_mm(start)[0], 1),
        "target_error_mm": round(error, 2), "left_mm": round(shift[0], 2), "back_mm": round(shift[1], 2),
        "up_mm": round(shift[2], 2), **turns, "distance_mm": round(x[6], 1),
        "mismatch": round(levels[-1].mismatch(x[:6], x[6]), 4),
        "mismatch_stated": round(levels[-1].mismatch(np.zeros(6), x[6]), 4),
        "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip


def main() -> None:
    """Print the table and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--distance", type=float, default=600.0)
    given = parser.parse_args()
    ct = read_ct(data_root() / "taichi" / "ct_sacrum_0.7mm.nii.gz", acknowledge=["all"])
    low, high = ct.grid.bounds_mm
    excess = np.maximum(np.asarray(ct.array, dtype=np.float32), 0.0)
    bone = Volume(excess, ct.grid, "HU").resampled(ct.grid.resized(1.0), outside=0.0)
    shots = scouts(float(low[2]) + RIM_MM, float(high[2]) - RIM_MM)
    levels = [Level(bone, shots, factor) for factor in (4, 2, 1)]
    ranges = [(RANGES[0], False), (RANGES[0], True), *((wider, False) for wider in RANGES[1:])]
    with Path(__file__).with_suffix(".csv").open("w", newline="") as out:
        writer: csv.DictWriter[str] | None = None
        for seed in range(given.starts):
            for reach, free in ranges:
                found = row(levels, reach, given.distance, seed, free=free)
                if writer is None:
                    writer = csv.DictWriter(out, list(found))
                    writer.writeheader()
                writer.writerow(found)
                out.flush()
                print(*found.values(), flush=True)


if __name__ == "__main__":
    main()
