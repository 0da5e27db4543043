"""Bones found in a bare CT against truth that the method never saw; writes benchmarks/anatomy_bones.csv.

Rows: simulated CTs of atlas pelves left out of the shape model (exact truth), and one real CT against a network's
labels. Distances are between surfaces, symmetric, in mm; `outside` is the mean offset of the found surface (positive:
the found bone is too thick). `bridged`: share of the found sacrum's surface that touches the other found bone;
`across`: share of it that lies inside the other bone of the truth.

Each run adds up to --count CTs that are not in the table yet.

    PYTHONPATH=src python benchmarks/anatomy_bones.py --count 3
"""

from __future__ import annotations

import resource
import time
from functools import cache

import edt
import nibabel
import numpy as np
from scipy import ndimage

from anatomy_rows import count_asked, extended
from pelvis_shape_build import build, data_root
from sacroplasty.anatomy.bones import BoneSegmentation, segment_bones
from sacroplasty.anatomy.joints import VALUE, bridged_share
from sacroplasty.anatomy.shape_model import model_from_arrays
from sacroplasty.space import Grid, LabelMap, Volume
from synthetic_pelvis import Scan, full_model, synthetic_ct

# Places in the atlas: 0 to 2 served development, none of 0 to 11 is in the model that is measured.
LEFT_OUT, TESTED = range(12), range(3, 12)
SLICES_MM = (1.0, 3.0, 5.0)
HARD = (
    ("porous, fatty marrow", 7, Scan(slice_mm=2.0, osteoporotic=True)),
    ("metal femur, noise", 8, Scan(slice_mm=3.0, metal=True, noise_hu=25.0)),
)
REAL = "real, network labels"
COMPARED = (
    ("sacrum", ("sacrum", "coccyx")),
    ("hip_left", ("hip_left",)),
    ("hip_right", ("hip_right",)),
    ("l5", ("l5",)),
)
COLUMNS = (
    "ct", "slice_mm", "turn_deg", "osteoporotic", "metal", "structure", "dice", "mean_surface_mm", "surface_95_mm",
    "outside_mm", "confidence", "bridged_percent", "across_percent", "cpu_s", "peak_mb", "findings",
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
    border = _surface(np.isin(found, [VALUE[part] for part in COMPARED[0][1]]) & field)
    for name, parts in COMPARED:
        mine = np.isin(found, [VALUE[part] for part in parts]) & field
        true = np.isin(crop.array, values[name]) & field
        dice, mean, high, outside = compared(mine, true, crop.grid.spacing_mm)
        bridged, across = 0.0, 0.0
        if name != "sacrum":
            bridged = 100 * bridged_share(bones.labels.array, VALUE["sacrum"], VALUE[name])
            across = 100 * float(true[border].mean())
        yield {
            "structure": name, "dice": f"{dice:.3f}", "mean_surface_mm": f"{mean:.2f}",
            "surface_95_mm": f"{high:.1f}", "outside_mm": f"{outside:+.2f}",
            "confidence": bones.confidences.get(name, 0.0), "bridged_percent": f"{bridged:.2f}",
            "across_percent": f"{across:.2f}",
        }  # fmt: skip


def measured(ct, model, facts, truth, values):
    """Rows of one CT with CPU time (user and system, both cores) and the process's peak memory so far."""
    start = time.process_time()
    bones = segment_bones(ct, model=model)
    cost = {
        "cpu_s": f"{time.process_time() - start:.0f}",
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "findings": " ".join(sorted({f.code for f in bones.findings})),
    }
    rows = [{**facts, **row, **cost} for row in rows_of(bones, truth, values)]
    return [{column: row.get(column, "") for column in COLUMNS} for row in rows]


def real_ct():
    """The CT with a hip prosthesis and its network labels."""
    images = []
    for name in ("ct_3mm", "labels_3mm"):
        image = nibabel.load(data_root() / "totalsegmentator" / f"{name}.nii.gz")
        array, affine = np.asarray(image.dataobj), np.diag([-1, -1, 1, 1.0]) @ image.affine
        images.append((array, Grid.from_affine(array.shape, affine)))
    (ct, grid), (labels, label_grid) = images
    return Volume(ct.astype(np.int16), grid), LabelMap(labels.astype(np.uint8), label_grid)


@cache
def models():
    """The model without the left-out pelves, and that of all, whose landmarks alone serve."""
    atlas = np.load(data_root() / "pelvis_atlas" / "pelvis_atlas_32.npz")
    return model_from_arrays(build([int(atlas["ids"][n]) for n in LEFT_OUT])), full_model()


def case_rows(case: str):
    """The rows of one CT, named as in `cases`."""
    if case == REAL:
        ct, labels = real_ct()
        values = {"sacrum": (14,), "hip_left": (8,), "hip_right": (9,), "l5": (17,)}
        return measured(ct, None, {"ct": case, "slice_mm": 3.0, "metal": True}, labels, values)
    index, scan = cases()[case]
    model, landmarks = models()
    ct, truth = synthetic_ct(landmarks, index, scan, seed=index)
    facts = {"ct": case, "slice_mm": scan.slice_mm, "turn_deg": " ".join(f"{t:.1f}" for t in scan.turn_deg),
             "osteoporotic": scan.osteoporotic, "metal": scan.metal}  # fmt: skip
    return measured(ct, model, facts, truth, {name: tuple(VALUE[p] for p in parts) for name, parts in COMPARED})


def cases() -> dict[str, tuple[int, Scan]]:
    """Every simulated CT: the left-out pelvis and how it is imaged; slices go round, turns are drawn."""
    atlas = np.load(data_root() / "pelvis_atlas" / "pelvis_atlas_32.npz")
    result = {}
    for n, index in enumerate(TESTED):
        turn = tuple(np.random.default_rng(index).uniform(-15, 15, 3))
        result[f"simulated, atlas {atlas['ids'][index]}"] = (index, Scan(SLICES_MM[n % 3], turn))
    for kind, index, scan in HARD:
        result[f"simulated, atlas {atlas['ids'][index]}, {kind}"] = (index, scan)
    return result


def main():
    """Run the next CTs and add them to the table."""
    extended("anatomy_bones.csv", "ct", [REAL, *cases()], count_asked(__doc__, 3), case_rows)


if __name__ == "__main__":
    main()
