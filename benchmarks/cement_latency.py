"""Seconds from a leak to the ledger's alarm on simulated fluoroscopy, and false alarms on sequences without a leak.

The papers' first patient is injected without a leak; a blob of cement then grows out of the bone's surface at a drawn
place, moment and rate. A leak begins when 0.02 mL are truly outside. Every fourth sequence has none.
Prints a table and writes benchmarks/cement_latency.csv. Usage: python benchmarks/cement_latency.py [sequences]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from cement_cases import CEMENT, patient_of
from cement_ledger import GRID_MM, Room, cloud, parts_of
from sacroplasty.cement import CementResult, keep_ledger, simulate_injection
from sacroplasty.cement.ensemble import leak_threshold_ml
from sacroplasty.cement.tissue import BONES
from sacroplasty.space import Grid, Mask, Volume

EVERY_S, FRAMES, VOLUME_ML = 5.0, 8, 3.0
RATES_ML_S = (0.005, 0.01, 0.02, 0.05)
REACH_MM = 25.0


def leaking(image: Volume, bone: np.ndarray, foot: np.ndarray, outwards: np.ndarray, ml: float) -> Volume:
    """The cloud with a blob of cement that touches the bone's surface from outside."""
    if ml <= 0:
        return image
    places, share = image.grid.centres_mm(), np.array(image.array)
    radius = (3000.0 * ml / 4 / np.pi) ** (1 / 3)
    share[(np.linalg.norm(places - foot - radius * outwards, axis=-1) < radius) & ~bone] = 1.0
    return Volume(share, image.grid, "1")


def sequence(
    room: Room, result: CementResult, masks: tuple[Mask, Mask], tip: np.ndarray, n: int, rng: np.random.Generator
) -> dict[str, object]:
    """One sequence of frames: where and how fast it leaks, and when the ledger says so."""
    inside, bony = masks
    grid = result.cement_fraction.grid
    labels, names = np.asarray(result.compartment_labels.array), result.compartment_labels.names
    bone = np.isin(labels, [k for k, name in names.items() if name in ("sacrum", "lesion", *BONES)])
    surface = np.argwhere(bone[1:-1, 1:-1, 1:-1] & ~bone[2:, 1:-1, 1:-1]) + 1
    feet = grid.patient_from_voxel.points(surface)
    near = feet[np.linalg.norm(feet - tip, axis=1) < REACH_MM]
    foot = near[rng.integers(len(near))]
    around = grid.centres_mm() - foot
    close = ~bone & (np.linalg.norm(around, axis=-1) < 4.0)
    outwards = around[close].mean(axis=0)
    outwards /= max(float(np.linalg.norm(outwards)), 1e-9)
    rate = 0.0 if n % 4 == 3 else float(rng.choice(RATES_ML_S))
    begins = float(rng.uniform(2.0, 15.0))
    times = EVERY_S * np.arange(1, FRAMES + 1)
    clouds = [
        leaking(cloud(result, VOLUME_ML * t / times[-1]), bone, foot, outwards, rate * max(t - begins, 0.0))
        for t in times
    ]
    frames = [(float(t), room.frame(c, 1000 * n + k)) for k, (t, c) in enumerate(zip(times, clouds, strict=True))]
    ledger = keep_ledger(frames, inside, bony, tip)
    truth = [parts_of(c, inside, bony)[3] for c in clouds]
    seen = next((k for k, ml in enumerate(truth) if ml >= leak_threshold_ml()), None)
    alarm = ledger.first_alarm_s
    return {
        "sequence": n, "rate_ml_s": rate, "leak_ml_at_end": round(truth[-1], 2),
        "leak_s": "" if seen is None else float(times[seen]), "alarm_s": "" if alarm is None else alarm,
        "latency_s": "" if seen is None or alarm is None else alarm - float(times[seen]),
        "leak_ml_at_alarm": "" if alarm is None else round(truth[int(alarm / EVERY_S) - 1], 2),
        "foot_mm": " ".join(f"{v:.0f}" for v in foot),
    }  # fmt: skip


def main() -> None:
    """The sequences, 16 unless told."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    ct, anatomy, lesion, plan = patient_of("zhang-1")
    result = simulate_injection(ct, anatomy, lesion, plan, cement=CEMENT["zhang-1"], spacing_mm=1.5)
    room = Room(ct, result, plan, plan.needles)
    low, high = result.cement_fraction.grid.bounds_mm
    grid = Grid.aligned(low, high, GRID_MM, ct.grid.frame_of_reference_uid)
    bone = Mask(np.isin(anatomy.labels.resampled(grid).array, [anatomy.labels.values["sacrum"]]), grid)
    inside = Mask(np.asarray(lesion.mask.resampled(grid).array) & np.asarray(bone.array), grid)
    rng, rows = np.random.default_rng(7), []
    for n in range(count):
        rows.append(sequence(room, result, (inside, bone), np.asarray(plan.first.tip_mm), n, rng))
        print(rows[-1], flush=True)
        with (Path(__file__).parent / "cement_latency.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
