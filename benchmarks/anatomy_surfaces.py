"""Foramina of the 32 real sacra of the pelvis atlas, from their surfaces: found or not, and how far they scatter.

The surfaces (S1 to S3, in point correspondence) are voxelised at 0.8 mm and given as masks. Every foramen found is
carried to the mean shape by the rigid motion of the 80 nearest surface points; `off_mm` in the summary is the distance
to the median place of its kind. The surfaces share one triangulation and are smoother than masks of a CT: this is
repeatability on real shapes, not accuracy in patients. Each run adds up to --count subjects.

    PYTHONPATH=src python benchmarks/anatomy_surfaces.py --count 8
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy.spatial import cKDTree

from anatomy_rows import Row, count_asked, extended, rows_in
from pelvis_shape_build import PER_BONE, build, data_root
from sacroplasty.anatomy import STRUCTURES, fine_anatomy
from sacroplasty.anatomy.joints import VALUE
from sacroplasty.anatomy.shape_model import SACRUM, PelvisModel, model_from_arrays
from sacroplasty.anatomy.surface import filled
from sacroplasty.errors import SacroplastyError
from sacroplasty.plan import Level
from sacroplasty.space import Grid, LabelMap, Mask, Volume

TABLE = "anatomy_surfaces.csv"
SPACING_MM, NEAREST = 0.8, 80
BONE_HU, SOFT_HU = 350, 40


def subjects() -> dict[str, np.ndarray]:
    """Vertices (n, 3) of every subject's sacrum, LPS mm, by name."""
    atlas = np.load(data_root() / "pelvis_atlas" / "pelvis_atlas_32.npz")
    return {f"atlas {name}": np.asarray(s, float) for name, s in zip(atlas["ids"], atlas["sacrum"], strict=True)}


def carried(point: np.ndarray, subject: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A place beside a subject's surface, beside the mean surface."""
    rows = cKDTree(subject).query(point, k=NEAREST)[1]
    here, there = subject[rows].mean(axis=0), mean[rows].mean(axis=0)
    u, _, vt = np.linalg.svd((subject[rows] - here).T @ (mean[rows] - there))
    rotation = vt.T @ np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    return rotation @ (point - here) + there


def measured(name: str, vertices: np.ndarray, model: PelvisModel) -> list[Row]:
    """One row per foramen of S1 and S2."""
    grid = Grid.aligned(vertices.min(axis=0) - 25, vertices.max(axis=0) + 25, SPACING_MM)
    bone = filled(vertices, model.part_faces[SACRUM], grid)
    # The surface ends at S3: nothing was scanned below.
    grid_low = vertices[:, 2].min() + 3
    kept = grid.box_around(np.array([[*grid.bounds_mm[0][:2], grid_low], grid.bounds_mm[1]]))
    bone, grid = bone[kept], grid.cropped(kept)
    ct = Volume(np.where(bone, BONE_HU, SOFT_HU).astype(np.int16), grid)
    labels = LabelMap(np.where(bone, VALUE["sacrum"], 0).astype(np.uint8), grid, STRUCTURES)
    keys = ("subject", "level", "side", "face", "state", "x_mm", "y_mm", "z_mm", "midline_mm", "arc_mm", "diameter_mm")
    try:
        found = fine_anatomy(ct, labels, Mask(np.ones(grid.shape, bool), grid), source="surface")
    except SacroplastyError as error:
        return [dict.fromkeys(keys, "") | {"subject": name, "state": f"refused: {error.what}"}]
    rows = []
    for foramen in found.foramina:
        if foramen.level not in (Level.S1, Level.S2):
            continue
        centre = np.asarray(foramen.centre_mm)
        place = carried(centre, vertices, model.mean_mm[:PER_BONE])
        arc, x, _ = found.frame.coordinates(centre)
        values = (*np.round(place, 2), round(abs(float(x)), 1), round(float(arc), 1), round(2 * foramen.radius_mm, 1))
        rows.append(dict(zip(keys, (name, foramen.level.value, foramen.side.value, foramen.face.value,
                                    foramen.state.value, *values), strict=True)))  # fmt: skip
    return rows


def summary() -> None:
    """Print the share found and the scatter of each foramen over all subjects in the table."""
    places = defaultdict(list)
    count = len({row["subject"] for row in rows_in(TABLE)})
    for row in rows_in(TABLE):
        if row["state"] == "measured":
            places[row["level"], row["face"], row["side"]].append([float(row[k]) for k in ("x_mm", "y_mm", "z_mm")])
    for key, points in sorted(places.items()):
        off = np.linalg.norm(np.array(points) - np.median(points, axis=0), axis=1)
        print(
            *key, f"measured {len(points)}/{count}, scatter {np.median(off):.1f}, 90 % {np.quantile(off, 0.9):.1f} mm"
        )


def main() -> None:
    """Add the next subjects and print the summary."""
    model, everyone = model_from_arrays(build()), subjects()
    extended(TABLE, "subject", everyone, count_asked(__doc__, 4), lambda name: measured(name, everyone[name], model))
    summary()


if __name__ == "__main__":
    main()
