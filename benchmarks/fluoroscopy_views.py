"""Sacral foramina at the planned AP tilt against textbook tilts: drawn phantoms and atlas pelves. Writes a CSV.

The planner follows the foramina's rims in clean, single-energy line integrals of the CT at 1.5 mm. The judge here never
sees those: it renders the radiograph (spectrum, scatter, quantum noise, blur), lays the anterior opening's projected
outline on it and measures how much darker it is outside the outline than inside, over small shifts and sizes, in
standard deviations of the same measure at places 8 to 22 mm away. Mean of both foramina and of three noisy shots. Both
take a foramen for its rim, so the judge tells whether the planned tilt survives the radiograph, not whether that notion
is right. `traced` is another notion: the share of the outline's points, one by one, that have a stronger edge within 3
mm than nine in ten places around (by chance a tenth). It is no reader study.

Textbook tilts, detector towards the head: 0 (AP), 30 (Ferguson), 45 (outlet, the view foramina are looked for in). The
planner and the measures were set on phantoms 0 to 5 and pelves 0 and 17 to 20, which are not in the table. Gas inside
the pelves is replaced by water, as the planner does: it moves between scan and procedure. `judge_sd`: standard
deviation of the measure between shots that differ in noise only.

Run: python benchmarks/fluoroscopy_views.py [FOLDER] [LEVEL ...]; rows are appended, cases already there are passed
over, and a FOLDER keeps the built cases for another run.
"""

from __future__ import annotations

import csv
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from matplotlib.path import Path as Polygon
from scipy import ndimage
from scipy.signal import fftconvolve

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sacroplasty.anatomy import Anatomy, Face, Foramen, segment
from sacroplasty.fluoroscopy import CArm, Radiograph, Stage, Tissues, View, angles_of, render
from sacroplasty.fluoroscopy.rim import foramen_rim
from sacroplasty.fluoroscopy.views import ROBUST_DEG, foramina_tilt
from sacroplasty.fluoroscopy.visibility import without_gas
from sacroplasty.phantom import PhantomShape, build_phantom
from sacroplasty.plan import Level
from sacroplasty.space import Volume
from synthetic_pelvis import Scan, full_model, synthetic_ct

TEXTBOOK = (0.0, 30.0, 45.0)
PHANTOMS, PELVES = range(100, 124), range(1, 17)
LEVELS = (Level.S1, Level.S2, Level.S3)
SIZES, NOISE_SEEDS = (0.7, 0.85, 1.0), (1, 2, 3)
PLACES = ("planned", *[f"at_{t:.0f}" for t in TEXTBOOK])
HEADER = [
    "case", "level", "planned_tilt_deg", "planner_score", *PLACES, "judge_sd",
    *[f"{place}_worst_{ROBUST_DEG:.0f}_deg" for place in PLACES], *[f"{place}_traced" for place in PLACES],
]  # fmt: skip


def phantom(seed: int) -> tuple[Volume, Anatomy]:
    """A drawn phantom turned at random, and its true anatomy."""
    turn = tuple(np.random.default_rng(seed).uniform(-8, 8, 3))
    built = build_phantom(PhantomShape.drawn(seed), spacing_mm=1.5, truth_spacing_mm=1.5, rotation_deg=turn)
    return built.ct, built.anatomy


def pelvis(index: int) -> tuple[Volume, Anatomy]:
    """A simulated CT of an atlas pelvis, and the anatomy found in it with its true bones."""
    scan = Scan(slice_mm=1.5, contrast=False)
    ct, labels = synthetic_ct(full_model(), index, scan, seed=index, spacing_mm=1.5)
    return ct, segment(ct, labels)


def cases(folder: Path | None) -> Iterator[tuple[str, Callable[[], tuple[Volume, Anatomy]]]]:
    """Names of all cases and what builds or reads each."""
    for kind, make, numbers in (("phantom", phantom, PHANTOMS), ("pelvis", pelvis, PELVES)):
        for number in numbers:
            name = f"{kind}_{number}"

            def built(name: str = name, make=make, number: int = number) -> tuple[Volume, Anatomy]:
                kept = None if folder is None else folder / f"{name}.pkl"
                if kept is None or not kept.exists():
                    case = make(number)
                    if kept is None:
                        return case
                    kept.write_bytes(pickle.dumps(case, protocol=5))
                return pickle.loads(kept.read_bytes())

            yield name, built


def ring(rim: np.ndarray, pixel_mm: float) -> np.ndarray | None:
    """Weights that measure outside minus inside of a closed outline about 0 (pixels); None where it is too thin."""
    half = int(np.ceil(np.abs(rim).max() + 4.5 / pixel_mm))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    inside = Polygon(rim).contains_points(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    depth = ndimage.distance_transform_edt(inside) - 0.5
    distance = np.where(inside, -depth, ndimage.distance_transform_edt(~inside) - 0.5) * pixel_mm
    outer, inner = (distance > 0.5) & (distance < 3), (distance < -0.5) & (distance > -3)
    return outer / outer.sum() - inner / inner.sum() if inner.sum() >= 5 else None


def rim_stands_out(shot: Radiograph, foramen: Foramen) -> float:
    """Rim contrast at a foramen's place, in standard deviations of that at places around; 0 where it is edge on."""
    pixel = shot.view.carm.isocentre_pixel_mm
    rim = shot.view.detector_from_patient.points(foramen_rim(foramen, 49))[:-1]
    centre, half = rim.mean(axis=0), int(40 / pixel)
    column, row = np.rint(centre).astype(int)
    window = np.pad(shot.attenuation, half, mode="reflect")[row : row + 2 * half + 1, column : column + 2 * half + 1]
    rings = [ring((rim - centre) * size, pixel) for size in SIZES]
    contrast = [fftconvolve(window, r[::-1, ::-1], mode="same") for r in rings if r is not None]
    if not contrast:
        return 0.0
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * pixel
    distance = np.hypot(x, y)
    near = distance[half - 9 : half + 10, half - 9 : half + 10] <= 3
    best = ndimage.maximum_filter(np.max(contrast, axis=0), footprint=near)
    around = best[(distance > 8) & (distance < 22)]
    return float((best[half, half] - around.mean()) / around.std())


def traced(shot: Radiograph, foramen: Foramen) -> float:
    """Share of a rim's points with a stronger edge within 3 mm than nine in ten places around have."""
    pixel = shot.view.carm.isocentre_pixel_mm
    rim = shot.view.detector_from_patient.points(foramen_rim(foramen, 49))
    outward = np.diff(rim, axis=0) @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    rim = rim[:-1]
    outward *= np.sign(((rim - rim.mean(axis=0)) * outward).sum()) / np.linalg.norm(outward, axis=1, keepdims=True)
    steps = np.arange(-4.5, 4.51, 0.25)
    lines = rim[:, None] + (steps / pixel)[:, None] * outward[:, None]
    turns = np.radians(np.arange(0, 360, 30))
    moves = [r / pixel * np.array([np.cos(t), np.sin(t)]) for r in (10, 15, 20) for t in turns]
    strengths = []
    for move in (np.zeros(2), *moves):
        profile = ndimage.map_coordinates(
            shot.attenuation, np.moveaxis(lines + move, -1, 0)[::-1], order=1, mode="nearest"
        )
        total = np.cumsum(np.pad(profile, ((0, 0), (1, 0))), axis=1)
        strengths.append(np.max(total[:, 12:] - 2 * total[:, 6:-6] + total[:, :-12], axis=1))
    return float((strengths[0] > np.percentile(strengths[1:], 90)).mean())


def behind(anatomy: Anatomy, centre_mm: tuple[float, float, float]) -> Callable[[float], View]:
    """The AP view of a tilt in the patient's own sagittal plane."""
    back = np.cross([0.0, 0.0, 1.0], np.asarray(anatomy.frame.left))
    back /= np.linalg.norm(back)

    def at(tilt_deg: float) -> View:
        s = np.radians(tilt_deg)
        return View(CArm.profile(), *angles_of(np.cos(s) * back + np.sin(s) * np.array([0, 0, 1.0])), centre_mm)

    return at


def rows_of(name: str, ct: Volume, anatomy: Anatomy, levels: list[Level]) -> list[list[str]]:
    """One row per level whose two anterior foramina are known."""
    stage, tissues = Stage.of(ct, anatomy), Tissues.of(without_gas(ct, anatomy.body))
    rows = []
    for level in levels:
        found = [f for f in anatomy.foramina if f.level is level and f.face is Face.ANTERIOR and f.state.known]
        segment_found = anatomy.level(level)
        if segment_found is None or len(found) < 2:
            continue
        at = behind(anatomy, segment_found.body_centre_mm)

        def judge(tilt: float, seeds=NOISE_SEEDS, at=at, found=found) -> np.ndarray:
            """Rim and traced share (seeds, 2), each the mean of the foramina."""
            shots = [render(tissues, at(tilt), seed=seed, step_mm=0.8) for seed in seeds]
            return np.array([[np.mean([m(s, f) for f in found]) for m in (rim_stands_out, traced)] for s in shots])

        tilt, score = foramina_tilt(stage, level, at, -10.0, 60.0)
        tilts = (tilt, *TEXTBOOK)
        seen = np.array([judge(t) for t in tilts])
        beside = [[judge(t + off, NOISE_SEEDS[:1])[0, 0] for off in (-ROBUST_DEG, ROBUST_DEG)] for t in tilts]
        worst = np.column_stack([seen[:, 0, 0], beside]).min(axis=1)
        spread = np.sqrt(seen[..., 0].var(axis=1, ddof=1).mean())
        numbers = [score, *seen[..., 0].mean(axis=1), spread, *worst, *seen[..., 1].mean(axis=1)]
        rows.append([name, level.value, f"{tilt:.0f}", *[f"{n:.2f}" for n in numbers]])
    return rows


def summary(path: Path) -> None:
    """Print, per kind of case and level, how often the planned tilt is better than, equal to, worse than each other."""
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    for kind in ("phantom", "pelvis"):
        for level in LEVELS:
            part = [r for r in table if r["case"].startswith(kind) and r["level"] == level.value]
            if part:
                print(f"{kind} {level} n={len(part)}: " + "; ".join(compared(part)))


def compared(part: list[dict[str, str]]) -> Iterator[str]:
    """For the planned tilt and each textbook tilt: medians, shares under two, and counts of cases planned higher.

    Equal within the judge's noise: means of the shots apart by less than two standard deviations of their difference.
    """
    column = {name: np.array([float(row[name]) for row in part]) for name in HEADER[2:]}
    noise = 2 * column["judge_sd"] * np.sqrt(2 / len(NOISE_SEEDS))
    for place in PLACES:
        fixed, worst, share = (column[place + end] for end in ("", f"_worst_{ROBUST_DEG:.0f}_deg", "_traced"))
        said = f"{place} median {np.median(fixed):.2f}, under 2 in {(fixed < 2).sum()}, traced {np.median(share):.0%}"
        if place != "planned":
            gain = column["planned"] - fixed
            said += f", planned strictly higher in {(gain > 0).sum()} (clearly higher {(gain > noise).sum()}, "
            said += f"equal within noise {(np.abs(gain) <= noise).sum()}, clearly lower {(gain < -noise).sum()})"
            said += f", worst in ±{ROBUST_DEG:.0f} higher in {(column[HEADER[9]] > worst).sum()}"
            said += f", traced more in {(column['planned_traced'] > share).sum()}, less in "
            said += f"{(column['planned_traced'] < share).sum()}"
        yield said


def main() -> None:
    """Judge every case that the CSV lacks, then print the summary."""
    levels = [level for level in LEVELS if level.value in sys.argv[1:]] or list(LEVELS)
    folders = [Path(a) for a in sys.argv[1:] if a not in [level.value for level in LEVELS]]
    path = Path(__file__).with_suffix(".csv")
    if not path.exists():
        path.write_text(",".join(HEADER) + "\n")
    with path.open(newline="") as file:
        done = {(row["case"], row["level"]) for row in csv.DictReader(file)}
    for name, built in cases(folders[0] if folders else None):
        if missing := [level for level in levels if (name, level.value) not in done]:
            rows = rows_of(name, *built(), missing)
            with path.open("a", newline="") as file:
                csv.writer(file).writerows(rows)
            print(rows, flush=True)
    summary(path)


if __name__ == "__main__":
    main()
