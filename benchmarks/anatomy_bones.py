"""Bones found in a bare CT against truth that the method never saw; writes benchmarks/anatomy_bones.csv.

Rows: simulated CTs of atlas pelves left out of the shape model (exact truth), and one real CT against a network's
labels. Distances are between surfaces, symmetric, in mm; `outside` is the mean offset of the found surface (positive:
the found bone is too thick).

    PYTHONPATH=src python benchmarks/anatomy_bones.py
"""

from __future__ import annotations

import csv
import resource
import time
from pathlib import Path

import edt
import nibabel
import numpy as np
from scipy import ndimage

from pelvis_shape_build import build, data_root
from sacroplasty.anatomy.bones import BoneSegmentation, segment_bones
from sacroplasty.anatomy.joints import VALUE, bridged_share
from sacroplasty.anatomy.shape_model import model_from_arrays
from sacroplasty.space import Grid, LabelMap, Volume
from synthetic_pelvis import Scan, full_model, synthetic_ct

# Places in the atlas: 0 to 2 served development, none of 0 to 8 is in the model that is measured.
LEFT_OUT, TESTED = range(9), (3, 4, 5, 6, 7, 8)
SCANS = (
    Scan(slice_mm=1.0),
    Scan(slice_mm=3.0, turn_deg=(10, -6, 8)),
    Scan(slice_mm=5.0),
    Scan(slice_mm=1.0, turn_deg=(-15, 5, -8), noise_hu=30.0),
    Scan(slice_mm=2.0, osteoporotic=True),
    Scan(slice_mm=3.0, metal=True, noise_hu=25.0),
)
STRUCTURES_COMPARED = (
    ("sacrum", ("sacrum", "coccyx")),
    ("hip_left", ("hip_left",)),
    ("hip_right", ("hip_right",)),
    ("l5", ("l5",)),
)
COLUMNS = (
    "ct", "slice_mm", "turn_deg", "osteoporotic", "metal", "structure", "dice", "mean_surface_mm", "surface_95_mm",
    "outside_mm", "confidence", "bridged_percent", "cpu_s", "peak_mb",
)  # fmt: skip


def _surface(mask):
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def compared(found, truth, spacing_mm):
    """Dice, mean and 95th percentile surface distance, mean outward offset (mm) of two masks on one grid."""
    box = ndimage.find_objects((found | truth).astype(np.uint8))[0]
    box = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in box)
    found, truth = found[box], truth[box]
    to_truth, to_found = (edt.edt(~_surface(m), anisotropy=spacing_mm) for m in (truth, found))
    own, other = to_truth[_surface(found)], to_found[_surface(truth)]
    signed = np.where(truth[_surface(found)], -own, own)
    dice = 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))
    return dice, (own.mean() + other.mean()) / 2, float(np.quantile(np.r_[own, other], 0.95)), signed.mean()


def rows_of(bones: BoneSegmentation, truth: LabelMap, values: dict[str, tuple[int, ...]]):
    """One row per structure, compared on the truth's grid inside the found field."""
    crop = truth.cropped(truth.grid.box_around(bones.labels.grid.corners_mm))
    found = bones.labels.resampled(crop.grid).array
    field = bones.labels.grid.contains(crop.grid.centres_mm())
    for name, parts in STRUCTURES_COMPARED:
        mine = np.isin(found, [VALUE[part] for part in parts]) & field
        true = np.isin(crop.array, values[name]) & field
        dice, mean, high, outside = compared(mine, true, crop.grid.spacing_mm)
        bridged = 0.0
        if name != "sacrum":
            bridged = 100 * bridged_share(bones.labels.array, VALUE["sacrum"], VALUE[name])
        yield {
            "structure": name, "dice": f"{dice:.3f}", "mean_surface_mm": f"{mean:.2f}",
            "surface_95_mm": f"{high:.1f}", "outside_mm": f"{outside:+.2f}",
            "confidence": bones.confidences.get(name, 0.0), "bridged_percent": f"{bridged:.2f}",
        }  # fmt: skip


def measured(ct, model, facts, truth, values):
    """Rows of one CT with CPU time (user and system, both cores) and the process's peak memory so far."""
    start = time.process_time()
    bones = segment_bones(ct, model=model)
    cost = {
        "cpu_s": f"{time.process_time() - start:.0f}",
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    rows = [{**facts, **row, **cost} for row in rows_of(bones, truth, values)]
    for row in rows:
        print("  ".join(f"{row.get(c, '')!s:>9}" for c in COLUMNS), flush=True)
    return rows


def real_ct():
    """The CT with a hip prosthesis and its network labels."""
    images = []
    for name in ("ct_3mm", "labels_3mm"):
        image = nibabel.load(data_root() / "totalsegmentator" / f"{name}.nii.gz")
        array, affine = np.asarray(image.dataobj), np.diag([-1, -1, 1, 1.0]) @ image.affine
        images.append((array, Grid.from_affine(array.shape, affine)))
    (ct, grid), (labels, label_grid) = images
    return Volume(ct.astype(np.int16), grid), LabelMap(labels.astype(np.uint8), label_grid)


def main():
    """Run all CTs and write the table."""
    atlas = np.load(data_root() / "pelvis_atlas" / "pelvis_atlas_32.npz")
    model, landmarks = model_from_arrays(build([int(atlas["ids"][n]) for n in LEFT_OUT])), full_model()
    print("  ".join(f"{c:>9}" for c in COLUMNS))
    ct, labels = real_ct()
    facts = {"ct": "real, network labels", "slice_mm": 3.0, "metal": True}
    rows = measured(ct, None, facts, labels, {"sacrum": (14,), "hip_left": (8,), "hip_right": (9,), "l5": (17,)})
    truth_values = {name: tuple(VALUE[part] for part in parts) for name, parts in STRUCTURES_COMPARED}
    for index, scan in zip(TESTED, SCANS, strict=True):
        ct, truth = synthetic_ct(landmarks, index, scan, seed=index)
        turn = " ".join(f"{t:g}" for t in scan.turn_deg)
        facts = {"ct": f"simulated, atlas {atlas['ids'][index]}", "slice_mm": scan.slice_mm, "turn_deg": turn,
                 "osteoporotic": scan.osteoporotic, "metal": scan.metal}  # fmt: skip
        rows += measured(ct, model, facts, truth, truth_values)
    with (Path(__file__).parent / "anatomy_bones.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
