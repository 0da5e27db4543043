"""Fine anatomy of the sacrum against simulated truth; adds to benchmarks/anatomy_sacrum_{foramina,cases}.csv.

Every phantom is drawn from published spreads, rotated by up to 15 degrees about each axis and scanned with 1.5, 3 or 5
mm slices in turn; three of four have a hip prosthesis, contrast medium or a field that cuts the ilia. The mask is the
own segmentation of the bare CT (`--mask "bare CT"`, the default) or the truth as a network of 3 mm voxels would make it
(`--mask "network 3 mm"`). Each run adds up to --count phantoms that are not in the tables yet; what is refused is a row
that says so. With --keep FOLDER phantoms and their bones are kept there (100 MB each), so that another version of the
fine anatomy can be judged at a fifth of the cost. At the end the tables are summed up; an uncertainty holds where the
error is within the ball of 95 % of a round Gaussian of that standard deviation per axis.

    PYTHONPATH=src python benchmarks/anatomy_sacrum.py --count 4
"""

from __future__ import annotations

import argparse
import pickle
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage, stats
from scipy.spatial import cKDTree

from anatomy_bones import compared
from anatomy_rows import Row, appended, rows_in
from sacroplasty.anatomy import STRUCTURES, Anatomy, BoneSegmentation, fine_anatomy, segment_bones
from sacroplasty.anatomy.confidence import with_symmetry
from sacroplasty.anatomy.joints import VALUE, bridged_share
from sacroplasty.errors import SacroplastyError
from sacroplasty.phantom import Metal, Phantom, PhantomShape, build_phantom
from sacroplasty.space import Grid, LabelMap, Mask, Volume

CASES, FORAMINA = "anatomy_sacrum_cases.csv", "anatomy_sacrum_foramina.csv"
MASKS = ("bare CT", "network 3 mm")
SLICES_MM = (1.5, 3.0, 5.0)
FIELD = ((-85.0, -40.0, -135.0), (85.0, 95.0, 35.0))
PELVIS = ((-150.0, -80.0, -150.0), (150.0, 130.0, 60.0))
CUT = ((-105.0, -70.0, -140.0), (105.0, 130.0, 60.0))
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

    @property
    def name(self) -> str:
        """How both tables call it."""
        return f"{self.mask} {self.seed}"


def network_labels(truth: Anatomy) -> tuple[LabelMap, Mask]:
    """The true sacrum as a network of 3 mm voxels makes it: blurred by 1 mm, occupancy above one half."""
    spacing = np.asarray(truth.labels.grid.spacing_mm)
    sacrum = truth.labels.mask("sacrum").array.astype(np.float32)
    blurred = Volume(ndimage.gaussian_filter(sacrum, NETWORK_BLUR_MM / spacing), truth.labels.grid, "1")
    grid = Grid.aligned(*truth.labels.grid.bounds_mm, NETWORK_MM)
    array = np.asarray(blurred.resampled(grid, outside=0.0).array) > 0.5
    return LabelMap(array.astype(np.uint8), grid, STRUCTURES), Mask(np.ones(grid.shape, bool), grid)


def kind_of(seed: int) -> str:
    """What makes three of four phantoms harder than a plain pelvis."""
    return ("plain", "hip prosthesis", "contrast medium", "cut ilia")[seed % 4]


def phantom_of(seed: int, mask: str) -> tuple[float, Phantom]:
    """One drawn phantom in one pose and its slice distance (mm)."""
    slice_mm, kind = SLICES_MM[seed % 3], kind_of(seed)
    rng = np.random.default_rng(1000 * seed + round(10 * slice_mm))
    pelvis = CUT if kind == "cut ilia" else PELVIS
    return slice_mm, build_phantom(
        PhantomShape.drawn(seed),
        spacing_mm=(0.8, 0.8, slice_mm),
        rotation_deg=tuple(rng.uniform(-15, 15, 3)),
        field_of_view_mm=pelvis if mask == "bare CT" else FIELD,
        noise_hu=25.0,
        seed=seed,
        contrast=kind == "contrast medium",
        metal=Metal.HIP if kind == "hip prosthesis" else Metal.NONE,
    )


def bones_in(phantom: Phantom, mask: str) -> BoneSegmentation:
    """The bones by a mask of the named kind; AnatomyError where the own segmentation refuses."""
    if mask == "bare CT":
        return segment_bones(phantom.ct)
    labels, body = network_labels(phantom.anatomy)
    return BoneSegmentation(labels, body, phantom.ct, body, {}, (), mask)


def found_in(phantom: Phantom, bones: BoneSegmentation) -> Anatomy:
    """The anatomy inside these bones, as `segment` makes it."""
    found = fine_anatomy(phantom.ct, bones.labels, bones.body, source=bones.source)
    confidences = with_symmetry(bones.confidences, found.frame.symmetry_residual_mm)
    return found.with_(confidences={**found.confidences, **confidences}, findings=bones.findings + found.findings)


def prepared(seed: int, mask: str, folder: Path | None) -> tuple[float, Phantom, BoneSegmentation, float]:
    """Slice distance, phantom, bones and the CPU seconds these took, from the folder where they are kept."""
    kept = None if folder is None else folder / f"{mask} {seed}.pickle"
    if kept is not None and kept.exists():
        with kept.open("rb") as file:
            return pickle.load(file)  # type: ignore[no-any-return]
    slice_mm, phantom = phantom_of(seed, mask)
    start = time.process_time()
    one = slice_mm, phantom, bones_in(phantom, mask), time.process_time() - start
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("wb") as file:
            pickle.dump(one, file, protocol=5)
    return one


def foramen_rows(case: Case) -> list[dict[str, object]]:
    """One row per true foramen: state, error and stated uncertainty."""
    rows = []
    for truth in case.phantom.anatomy.foramina:
        found = case.found.foramen(truth.level, truth.side, truth.face)
        assert found is not None
        error = np.asarray(found.centre_mm) - np.asarray(truth.centre_mm)
        others = [one for one in case.phantom.anatomy.foramina if one.face is truth.face]
        nearest = min(others, key=lambda one: float(np.linalg.norm(np.subtract(one.centre_mm, found.centre_mm))))
        across = error - (error @ np.asarray(truth.axis)) * np.asarray(truth.axis)
        rows.append({
            "case": case.name, "slice_mm": case.slice_mm, "mask": case.mask, "level": truth.level.value,
            "side": truth.side.value, "face": truth.face.value, "state": found.state.value,
            "error_mm": round(float(np.linalg.norm(error)), 2), "across_mm": round(float(np.linalg.norm(across)), 2),
            "uncertainty_mm": round(found.uncertainty_mm, 2),
            "size_error_mm": round(float(2 * (found.radius_mm - truth.radius_mm)), 2),
            "own_is_nearest": nearest is truth,
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
    bones = [VALUE["sacrum"], VALUE["coccyx"]]
    mine = np.isin(found.labels.resampled(grid).array, bones)
    dice, surface, _, outside = compared(mine, np.isin(truth.labels.array, bones), grid.spacing_mm)
    bridged = [bridged_share(found.labels.array, VALUE["sacrum"], VALUE[n]) for n in ("hip_left", "hip_right", "l5")]
    return {
        "case": case.name, "slice_mm": case.slice_mm, "mask": case.mask, "kind": kind_of(case.seed),
        "outcome": "segmented", "sacrum_dice": round(dice, 3), "sacrum_surface_mm": round(float(surface), 2),
        "outside_mm": round(float(outside), 2), "confidence": found.confidences.get("sacrum", 0.0),
        "findings": " ".join(sorted({f.code for f in found.findings if f.code in ("SAC-A104", "SAC-A107")})),
        "bridged_percent": round(100 * max(bridged), 2),
        "canal_dice": round(2 * float((own & real).sum()) / float(own.sum() + real.sum()), 3),
        "canal_line_mm": round(float(line.mean()), 2),
        "border_s1_s4_mm": round(float(np.abs(off[:4]).mean()), 2),
        "border_max_mm": round(float(np.abs(off[:4]).max()), 2),
        "apex_mm": round(float(apex), 2), "hiatus_state": found.hiatus.state.value,
        "hiatus_depth_error_mm": round(found.hiatus.depth_mm - truth.hiatus.depth_mm, 2),
        "promontory_mm": round(float(np.linalg.norm(found.frame.origin_mm)), 2),
        "midline_deg": round(float(np.degrees(np.arccos(min(cosine, 1.0)))), 2),
        "slope_error_deg": round(found.frame.endplate_slope_deg - truth.frame.endplate_slope_deg, 1),
        "cpu_s": round(case.cpu_s, 1),
    }  # fmt: skip


def measured(seed: int, mask: str, folder: Path | None) -> None:
    """Add one phantom to both tables."""
    try:
        slice_mm, phantom, bones, bones_s = prepared(seed, mask, folder)
        start = time.process_time()
        found = found_in(phantom, bones)
    except SacroplastyError as error:
        blank = dict.fromkeys((rows_in(CASES) or [{}])[0], "")
        appended(CASES, [{**blank, "case": f"{mask} {seed}", "slice_mm": SLICES_MM[seed % 3], "mask": mask,
                          "kind": kind_of(seed), "outcome": f"refused: {error.what}"}])  # fmt: skip
        return
    case = Case(seed, slice_mm, mask, phantom, found, bones_s + time.process_time() - start)
    row: Row = case_row(case)
    appended(FORAMINA, foramen_rows(case))
    appended(CASES, [row])
    print(row, flush=True)


def summary() -> None:
    """Print, by mask, slices, level and face, how many foramina are found, how well, and how often the ball holds."""
    rows = rows_in(FORAMINA)
    reach = np.sqrt(stats.chi2.ppf(0.95, 3))
    kinds = sorted({(row["mask"], row["slice_mm"], row["face"], row["level"]) for row in rows})
    for kind in kinds:
        own = [row for row in rows if (row["mask"], row["slice_mm"], row["face"], row["level"]) == kind]
        seen = np.array([float(row["error_mm"]) for row in own if row["state"] == "measured"])
        share = f"measured {len(seen)}/{len(own)}"
        print(*kind, share, *(np.round(np.quantile(seen, (0.5, 0.9, 1.0)), 1) if len(seen) else ()))
    for mask, state in sorted({(row["mask"], row["state"]) for row in rows}):
        own = [row for row in rows if (row["mask"], row["state"]) == (mask, state)]
        errors = np.array([[float(row["error_mm"]), float(row["uncertainty_mm"])] for row in own])
        held = float((errors[:, 0] <= reach * errors[:, 1]).mean())
        print(mask, state, len(own), f"median {np.median(errors[:, 0]):.1f} mm, largest {errors[:, 0].max():.1f},",
              f"95 % ball holds {100 * held:.0f} %")  # fmt: skip


def main() -> None:
    """Add the phantoms asked for and sum up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mask", choices=MASKS, default=MASKS[0])
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    done = {row["case"] for row in rows_in(CASES)}
    seeds = (seed for seed in range(1, 1000) if f"{arguments.mask} {seed}" not in done)
    for seed, _ in zip(seeds, range(arguments.count), strict=False):
        measured(seed, arguments.mask, arguments.keep)
    summary()


if __name__ == "__main__":
    main()
