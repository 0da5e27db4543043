"""The ledger on simulated fluoroscopy of the papers' patients: error of the volumes, latency from leak to alarm.

A simulated injection is shown as AP and lateral radiographs with noise, scatter, beam hardening and needle. Excess
attenuation is calibrated as in a room, on two bodies of cement of known shape, here balls, rendered once per view in
the same patient. The ledger sees images only; truth is the cloud that was rendered.
Prints a table and writes benchmarks/cement_ledger.csv. Usage: python benchmarks/cement_ledger.py [case ...]
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cement_cases import CEMENT, patient_of
from sacroplasty.cement import (
    AttenuationCurve,
    CementProjection,
    CementResult,
    excess_attenuation,
    keep_ledger,
    simulate_injection,
)
from sacroplasty.cement.ensemble import leak_threshold_ml
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy import CArm, Exposure, PackedVolume, Tissues, View, line_integrals, render
from sacroplasty.space import Grid, Mask, Volume

EVERY_S = 15.0
GRID_MM = 2.5
ROWS = 256
# About 0.5 and 7 mL: the sizes that are injected, because scatter depends on size.
CALIBRATOR_RADII_MM = (5.0, 12.0)


def machine() -> CArm:
    """A C-arm with a coarse detector, which is what makes this table affordable."""
    return CArm("coarse", 1000.0, 650.0, ROWS, ROWS, 0.8, (-180.0, 180.0), (-60.0, 60.0), 150.0, 150.0, 200.0)


def cloud(result: CementResult, injected_ml: float) -> Volume:
    """Cement's share of each voxel once a volume was injected."""
    arrived = np.asarray(result.cloud_at(injected_ml).array)
    return Volume(np.where(arrived, result.cement_fraction.array, np.float32(0)), result.cement_fraction.grid, "1")


def calibrator(result: CementResult, radius_mm: float) -> Volume:
    """A ball of cement of known size in the middle of the block."""
    grid = result.cement_fraction.grid
    centres = grid.centres_mm()
    middle = centres.reshape(-1, 3).mean(axis=0)
    inside = np.linalg.norm(centres - middle, axis=-1) < radius_mm
    return Volume(inside.astype(np.float32), grid, "1")


class Room:
    """Two views of one patient: empty images, calibration, and frames as projections."""

    def __init__(self, ct: Volume, result: CementResult, plan, needles) -> None:  # type: ignore[no-untyped-def]
        self.tissues, self.needles, self.exposure = Tissues.of(ct), needles, Exposure.typical(80.0)
        middle = tuple(float(v) for v in plan.first.tip_mm)
        self.views = [View(machine(), angle, 0.0, middle) for angle in (0.0, 90.0)]  # type: ignore[arg-type]
        self.before = [self.shot(view, None, None) for view in self.views]
        balls = [calibrator(result, radius) for radius in CALIBRATOR_RADII_MM]
        bare = [self.shot(view, None, None, needles=False) for view in self.views]
        self.curves = [self.calibrated(n, balls, bare[n]) for n in range(2)]
        self.hidden = [with_needle < 0.8 * without for with_needle, without in zip(self.before, bare, strict=True)]

    def shot(self, view: View, cement: Volume | None, seed: int | None, needles: bool = True) -> np.ndarray:
        """The signal of one radiograph."""
        metal = self.needles if needles else ()
        return render(self.tissues, view, metal, cement=cement, exposure=self.exposure, seed=seed).signal

    def calibrated(self, n: int, balls: list[Volume], bare: np.ndarray) -> AttenuationCurve:
        """The curve from bodies of known shape in a view, before the needle is in."""
        view = self.views[n]
        excess = [excess_attenuation(bare, self.shot(view, ball, None, needles=False)) for ball in balls]
        return AttenuationCurve.calibrated(excess, [line_integrals(PackedVolume.of(ball), view) for ball in balls])

    def frame(self, cement: Volume, seed: int) -> list[CementProjection]:
        """Both views of a cloud, as the ledger takes them."""
        found = []
        for n, view in enumerate(self.views):
            path = self.curves[n].path_mm(self.before[n], self.shot(view, cement, seed + n))
            found.append(
                CementProjection(
                    path,
                    view.detector_from_patient,
                    view.source_mm,
                    view.carm.pixel_mm,
                    view.carm.source_detector_mm,
                    self.hidden[n],
                )
            )
        return found


def rows_of(name: str) -> list[dict[str, object]]:
    """One line per frame of a patient."""
    ct, anatomy, lesion, plan = patient_of(name)
    result = simulate_injection(ct, anatomy, lesion, plan, cement=CEMENT[name], spacing_mm=1.5)
    room = Room(ct, result, plan, plan.needles)
    low, high = result.cement_fraction.grid.bounds_mm
    grid = Grid.aligned(low, high, GRID_MM, ct.grid.frame_of_reference_uid)
    bone = Mask(np.isin(anatomy.labels.resampled(grid).array, [anatomy.labels.values["sacrum"]]), grid)
    inside = Mask(np.asarray(lesion.mask.resampled(grid).array) & np.asarray(bone.array), grid)
    times = np.arange(EVERY_S, result.moments[-1].time_s + EVERY_S, EVERY_S)
    volumes = np.interp(times, [m.time_s for m in result.moments], [m.injected_ml for m in result.moments])
    clouds = [cloud(result, float(v)) for v in volumes]
    start = time.process_time()
    frames = [(float(t), room.frame(c, 100 * n)) for n, (t, c) in enumerate(zip(times, clouds, strict=True))]
    seen = time.process_time() - start
    ledger = keep_ledger(frames, inside, bone, plan.first.tip_mm)
    used = (time.process_time() - start - seen) / len(frames)
    truth = [parts_of(c, inside, bone) for c in clouds]
    leak = next((float(t) for t, part in zip(times, truth, strict=True) if part[3] >= leak_threshold_ml()), None)
    target = float(volumes[-1])
    latency = None if leak is None else ledger.latency_s(leak)
    return [
        {
            "case": name, "seconds": entry.time_s,
            "total_ml": round(part[0], 2), "ledger_total_ml": round(entry.total.ml, 2),
            "total_error_percent_of_target": round(100 * abs(entry.total.ml - part[0]) / target, 1),
            "lesion_ml": round(part[1], 2), "ledger_lesion_ml": round(entry.lesion.ml, 2),
            "lesion_covered": entry.lesion.low_ml - 0.02 <= part[1] <= entry.lesion.high_ml + 0.02,
            "outside_ml": round(part[3], 2), "ledger_outside_ml": round(entry.outside.ml, 2),
            "ledger_outside_low_ml": round(entry.outside.low_ml, 2),
            "alarm": entry.alarm, "leak_s": leak, "latency_s": latency, "cpu_s_per_frame": round(used, 2),
        }
        for entry, part in zip(ledger.entries, truth, strict=True)
    ]  # fmt: skip


def parts_of(image: Volume, lesion: Mask, bone: Mask) -> tuple[float, float, float, float]:
    """Total, in the lesion, in bone beside it, and outside, mL, by the ledger's own masks."""
    places = image.grid.centres_mm().reshape(-1, 3)
    amount = np.asarray(image.array).ravel() * image.grid.voxel_volume_ml
    inside, bony = within(lesion, places), within(bone, places)
    return (
        float(amount.sum()),
        float(amount[inside].sum()),
        float(amount[bony & ~inside].sum()),
        float(amount[~(bony | inside)].sum()),
    )


def within(mask: Mask, places: np.ndarray) -> np.ndarray:
    """True for places whose nearest voxel is in a mask."""
    index = np.rint(mask.grid.voxel_from_patient.points(places)).astype(int)
    inside = ((index >= 0) & (index < mask.grid.shape)).all(axis=1)
    result = np.zeros(len(places), np.bool_)
    result[inside] = np.asarray(mask.array)[tuple(index[inside].T)]
    return result


def main() -> None:
    """The cases named, all without."""
    rows: list[dict[str, object]] = []
    for name in sys.argv[1:] or list(CEMENT):
        found = rows_of(name)
        rows += found
        for row in found:
            print(row, flush=True)
    errors = [float(str(r["total_error_percent_of_target"])) for r in rows]
    anchor = 100 * value("cement.ledger_anchor")
    print(f"median error {np.median(errors):.1f} % of the target volume, to beat {anchor:.1f} %")
    with (Path(__file__).parent / "cement_ledger.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
