"""The audit on a real scan: two reconstructions of one patient, cement drawn into the thick one; two patients refused.

    SACROPLASTY_DATA=... python benchmarks/outcome_audit_real.py

Plan: the lumbosacral CT of 0.7 mm fused from three stacks (taichi, CC0). Later: its axial stack, 0.29 x 0.29 x 3 mm,
turned in its header by a known pose, with balls of cement put between the trabeculae. The other patient is
ACRIN-FLT-Breast (CC BY 3.0).
"""

from __future__ import annotations

import csv
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from sacroplasty.anatomy import Anatomy, Face, segment
from sacroplasty.errors import GeometryError
from sacroplasty.io import read_ct
from sacroplasty.outcome.audit import audit_ct
from sacroplasty.outcome.audit_pictures import audit_png
from sacroplasty.outcome.audit_registration import register
from sacroplasty.plan import Level, Side
from sacroplasty.space import Frame, Grid, Transform, Volume

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SACROPLASTY_DATA", ROOT.parent / "shared" / "data"))
OUT = Path(__file__).with_suffix(".csv")
CEMENT_HU = 2300.0


def with_ball(ct: Volume, move: Transform, centre_mm: Any, radius_mm: float) -> tuple[Volume, float]:
    """The CT with a ball of cement (plan's frame) between its trabeculae, and its true mL."""
    box = ct.grid.box_around(move.points(np.asarray(centre_mm)[None]), radius_mm + 4.0)
    part = ct.grid.cropped(box)
    cut = tuple(int(np.ceil(s / 0.3)) for s in part.spacing_mm)
    points = move.inverse.points(part.refined(cut).centres_mm())
    inside = (np.linalg.norm(points - np.asarray(centre_mm), axis=-1) < radius_mm).astype(np.float32)
    share = np.asarray(Volume(inside, part.refined(cut), "1").binned(cut).array)
    before = np.asarray(ct.array[box], np.float32)
    pores = 1.0 - np.clip((before - 30.0) / (1800.0 - 30.0), 0.0, 1.0)
    array = np.array(ct.array, np.float32)
    array[box] = before + share * pores * (CEMENT_HU - np.clip(before, -120.0, 30.0))
    return Volume(np.minimum(array, 3071.0), ct.grid), float((share * pores).sum()) * part.voxel_volume_ml


def places(anatomy: Anatomy) -> dict[str, tuple[Any, float]]:
    """Centre (LPS mm) and radius of the balls, by the compartment they lie in."""
    frame = anatomy.frame
    s1, s2 = anatomy.require_level(Level.S1), anatomy.require_level(Level.S2)
    middle = (s1.upper_arc_mm + s1.lower_arc_mm) / 2
    canal = anatomy.canal
    assert canal is not None
    arc = frame.coordinates(canal.centreline_mm)[:, 0]
    foramen = anatomy.foramen(Level.S1, Side.RIGHT, Face.ANTERIOR)
    assert foramen is not None
    tunnels = anatomy.labels.mask("root_tunnel")
    inside = ndimage.distance_transform_edt(tunnels.array)
    voxels = np.argwhere(inside > 0)
    away = np.linalg.norm(tunnels.grid.patient_from_voxel.points(voxels) - np.asarray(foramen.centre_mm), axis=1)
    # Of the tunnel's voxels nearest to the foramen, the one farthest from its wall.
    near = voxels[np.argsort(away, kind="stable")[:300]]
    tunnel = tunnels.grid.patient_from_voxel.points(max(near, key=lambda p: (inside[tuple(p)], *p)))
    return {
        "sacrum": (frame.points([middle, 3.0, 15.0]), 8.0),
        "canal": (canal.centreline_mm[int(np.argmin(np.abs(arc - s1.lower_arc_mm)))], 3.0),
        foramen.name: (tunnel, 2.6),
        "presacral": (frame.points([(s2.upper_arc_mm + s2.lower_arc_mm) / 2, 12.0, -7.0]), 3.0),
        "posterior soft tissue": (frame.points([middle, -28.0, 52.0]), 3.0),
    }


def turned(ct: Volume, move: Transform) -> Volume:
    """The scan in another position of the patient: the same voxels under a moved header."""
    return Volume(ct.array, Grid(ct.grid.shape, move @ ct.grid.patient_from_voxel))


def main() -> None:
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    plan_ct = read_ct(DATA / "taichi" / "ct_sacrum_0.7mm.nii.gz")
    anatomy = pickle.loads(kept.read_bytes())[1] if kept else segment(plan_ct)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", (14.0, -5.0, 4.0), degrees=True).as_matrix()
    pose[:3, 3] = (40.0, -160.0, 300.0)
    move = Transform(Frame.PATIENT, Frame.PATIENT, pose)
    later = turned(read_ct(DATA / "taichi" / "ct_axial_sacrum_0.29x3.nii.gz", acknowledge=["all"]), move)
    truth: dict[str, float] = {}
    for name, (centre, radius) in places(anatomy).items():
        later, truth[name] = with_ball(later, move, centre, radius)
    begun = time.process_time()
    audit = audit_ct(plan_ct, anatomy, None, later)
    used = time.process_time() - begun
    points = anatomy.labels.mask("sacrum").points_mm()[::50]
    r = audit.registration
    error = np.linalg.norm(r.later_from_plan.points(points) - move.points(points), axis=1)
    print(f"registration error mean {error.mean():.2f}, largest {error.max():.2f} mm; correlation {r.correlation:.3f}, "
          f"spread {r.spread_mm:.2f} mm, mirrored {r.mirrored_correlation:.3f}, {used:.0f} s CPU")  # fmt: skip
    found = {site.compartment: site.volume_ml or 0.0 for site in audit.leaks.sites}
    found["sacrum"] = audit.compartments.get("sacrum", 0.0)
    rows = [{"compartment": name, "true_ml": round(truth.get(name, 0.0), 3), "found_ml": round(found.get(name, 0.0), 3)}
            for name in sorted({*truth, *found})]  # fmt: skip
    rows.append({"compartment": "all", "true_ml": round(sum(truth.values()), 3), "found_ml": round(audit.cement_ml, 3)})
    for row in rows:
        print(row)
    print("cement HU", audit.cement_hu, [b.kind for b in audit.bodies])
    if kept:
        (kept.parent / "cohort" / "audit_real.png").write_bytes(audit_png(plan_ct, anatomy, None, later, audit))
    with OUT.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    try:
        register(plan_ct, anatomy, read_ct(DATA / "acrin" / "ct_pelvis_4.25mm.nii.gz", acknowledge=["all"]))
        print("ANOTHER PATIENT WAS ACCEPTED")
    except GeometryError as refusal:
        print("another patient:", refusal.sentence)


if __name__ == "__main__":
    main()
