"""Fine anatomy of the sacrum against simulated truth and real surfaces; writes benchmarks/anatomy_sacrum_*.csv.

Run: python -m benchmarks.anatomy_sacrum [phantoms|atlas|all] [--seeds N]. Phantoms are drawn from published spreads, rotated by up to 15
degrees about each axis and scanned with 0.8 to 5 mm slices; the mask is the truth as a network of 3 mm voxels would
make it, or the own segmentation of the bare CT. The atlas needs the real surfaces (SACROPLASTY_DATA).
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from sacroplasty.anatomy import STRUCTURES, Anatomy, fine_anatomy, segment
from sacroplasty.phantom import Phantom, PhantomShape, build_phantom
from sacroplasty.space import Grid, LabelMap, Mask, Volume

HERE = Path(__file__).parent
FIELD = ((-85.0, -40.0, -135.0), (85.0, 95.0, 35.0))
PELVIS = ((-150.0, -80.0, -150.0), (150.0, 130.0, 60.0))
NETWORK_MM, NETWORK_BLUR_MM = 3.0, 1.0


@dataclass(frozen=True)
class Case:
    """One phantom, its anatomy as found, and what it took."""

    seed: int
    slice_mm: float
    mask: str
    phantom: Phantom
    found: Anatomy
    cpu_s: float


def network_labels(truth: Anatomy) -> tuple[LabelMap, Mask]:
    """The true sacrum as a network of 3 mm voxels makes it: blurred by 1 mm, occupancy above one half."""
    spacing = np.asarray(truth.labels.grid.spacing_mm)
    sacrum = truth.labels.mask("sacrum").array.astype(np.float32)
    blurred = Volume(ndimage.gaussian_filter(sacrum, NETWORK_BLUR_MM / spacing), truth.labels.grid, "1")
    grid = Grid.aligned(*truth.labels.grid.bounds_mm, NETWORK_MM)
    array = np.asarray(blurred.resampled(grid, outside=0.0).array) > 0.5
    return LabelMap(array.astype(np.uint8), grid, STRUCTURES), Mask(np.ones(grid.shape, bool), grid)


def phantom_case(seed: int, slice_mm: float, mask: str) -> Case:
    """One drawn phantom in one pose, segmented from a mask of the named kind."""
    rng = np.random.default_rng(1000 * seed + round(10 * slice_mm))
    shape = PhantomShape.drawn(seed) if seed else PhantomShape.norm()
    phantom = build_phantom(
        shape,
        spacing_mm=(0.8, 0.8, slice_mm),
        rotation_deg=tuple(rng.uniform(-15, 15, 3)),
        field_of_view_mm=PELVIS if mask == "bare CT" else FIELD,
        truth_spacing_mm=0.8,
        noise_hu=25.0,
        seed=seed,
    )
    start = time.process_time()
    if mask == "bare CT":
        found = segment(phantom.ct)
    else:
        truth = phantom.anatomy
        labels, body = network_labels(truth) if mask == "network 3 mm" else (truth.labels, truth.body)
        found = fine_anatomy(phantom.ct, labels, body, source=mask)
    return Case(seed, slice_mm, mask, phantom, found, time.process_time() - start)


def foramen_rows(case: Case) -> list[dict[str, object]]:
    """One row per true foramen: state, error and stated uncertainty."""
    rows = []
    for truth in case.phantom.anatomy.foramina:
        found = case.found.foramen(truth.level, truth.side, truth.face)
        assert found is not None
        error = np.asarray(found.centre_mm) - np.asarray(truth.centre_mm)
        across = error - (error @ np.asarray(truth.axis)) * np.asarray(truth.axis)
        rows.append({
            "seed": case.seed, "slice_mm": case.slice_mm, "mask": case.mask, "level": truth.level.value,
            "side": truth.side.value, "face": truth.face.value, "state": found.state.value,
            "error_mm": round(float(np.linalg.norm(error)), 2), "across_mm": round(float(np.linalg.norm(across)), 2),
            "uncertainty_mm": round(found.uncertainty_mm, 2),
            "size_error_mm": round(float(2 * (found.radius_mm - truth.radius_mm)), 2),
        })  # fmt: skip
    return rows


def case_row(case: Case) -> dict[str, object]:
    """One row per phantom: frame, levels, canal, hiatus."""
    truth, found = case.phantom.anatomy, case.found
    assert truth.canal is not None
    assert found.canal is not None
    assert truth.hiatus is not None
    assert found.hiatus is not None
    borders = np.array([found.frame.coordinates(truth.frame.points([lv.lower_arc_mm, 0, 0]))[0] for lv in truth.levels])
    off = np.array([lv.lower_arc_mm for lv in found.levels]) - borders
    grid = truth.labels.grid
    arcs = truth.frame.coordinates(grid.centres_mm().reshape(-1, 3))[:, 0].reshape(grid.shape)
    sacral = (arcs > 0) & (arcs < truth.frame.coordinates(np.asarray(truth.hiatus.apex_mm))[0])
    own = found.labels.mask("canal").resampled(grid).array & sacral
    real = truth.labels.mask("canal").array & sacral
    line, _ = cKDTree(truth.canal.centreline_mm).query(found.canal.centreline_mm)
    apex = np.linalg.norm(np.asarray(found.hiatus.apex_mm) - np.asarray(truth.hiatus.apex_mm))
    cosine = abs(np.asarray(found.frame.left) @ np.asarray(truth.frame.left))
    return {
        "seed": case.seed, "slice_mm": case.slice_mm, "mask": case.mask,
        "canal_dice": round(2 * float((own & real).sum()) / float(own.sum() + real.sum()), 3),
        "canal_line_mm": round(float(line.mean()), 2),
        "border_s1_s4_mm": round(float(np.abs(off[:4]).mean()), 2), "border_max_mm": round(float(np.abs(off[:4]).max()), 2),
        "apex_mm": round(float(apex), 2), "hiatus_state": found.hiatus.state.value,
        "hiatus_depth_error_mm": round(found.hiatus.depth_mm - truth.hiatus.depth_mm, 2),
        "promontory_mm": round(float(np.linalg.norm(found.frame.origin_mm)), 2),
        "midline_deg": round(float(np.degrees(np.arccos(min(cosine, 1.0)))), 2),
        "slope_error_deg": round(found.frame.endplate_slope_deg - truth.frame.endplate_slope_deg, 1),
        "cpu_s": round(case.cpu_s, 1),
    }  # fmt: skip


def write(name: str, rows: Iterable[dict[str, object]]) -> None:
    """Rows as a CSV beside this file."""
    table = list(rows)
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def phantoms(seeds: int) -> None:
    """All phantoms, slice distances and masks."""
    foramina: list[dict[str, object]] = []
    cases: list[dict[str, object]] = []
    for seed in range(1, seeds + 1):
        for mask in ("network 3 mm", "bare CT"):
            for slice_mm in (1.5, 3.0, 5.0):
                case = phantom_case(seed, slice_mm, mask)
                foramina += foramen_rows(case)
                cases.append(case_row(case))
                print(cases[-1], flush=True)
                write("anatomy_sacrum_foramina.csv", foramina)
                write("anatomy_sacrum_cases.csv", cases)


def main() -> None:
    """The table asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("phantoms",), default="phantoms", nargs="?")
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")
    phantoms(arguments.seeds)


if __name__ == "__main__":
    main()
