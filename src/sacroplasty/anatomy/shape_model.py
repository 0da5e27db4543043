"""The statistical shape of the pelvis: sacrum and both hip bones of 32 people, S4 to S5 continued by a full sacrum.

The data file beside this module is derived from openly licensed surfaces; `NOTICE.pelvis_shape.txt` names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy.surface import filled
from sacroplasty.space import Grid, Points

SACRUM, HIP_LEFT, HIP_RIGHT, CAUDAL = range(4)


@dataclass(frozen=True, eq=False)
class PelvisModel:
    """Point distribution model in LPS mm, lying as patients lie on average.

    mean_mm (n, 3); modes_mm (n, 3, m) are displacements at one standard deviation; faces (f, 3) point outwards;
    part (n,) is SACRUM (S1-S3), HIP_LEFT, HIP_RIGHT or CAUDAL (S4-S5, overlaps the sacrum); edge_weight (n,) is how
    far a vertex may follow a CT edge (0 at cut faces, low at joints); endplate, acetabula: vertex indices.
    """

    mean_mm: Points
    modes_mm: Points
    faces: npt.NDArray[np.int64]
    part: npt.NDArray[np.uint8]
    edge_weight: Points
    endplate: npt.NDArray[np.int64]
    acetabula: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]

    @property
    def mode_count(self) -> int:
        """Number of modes."""
        return int(self.modes_mm.shape[2])

    @cached_property
    def part_faces(self) -> tuple[npt.NDArray[np.int64], ...]:
        """Faces of each part, still indexing all vertices."""
        return tuple(self.faces[self.part[self.faces[:, 0]] == p] for p in (SACRUM, HIP_LEFT, HIP_RIGHT, CAUDAL))

    def shape_mm(self, coefficients: npt.ArrayLike) -> Points:
        """Vertices (n, 3) of coefficients (k <= m,) in standard deviations, in the model's own place."""
        b = np.asarray(coefficients, dtype=np.float64)
        return np.asarray(self.mean_mm + self.modes_mm[..., : len(b)] @ b)

    def part_mask(self, vertices_mm: Points, part: int, grid: Grid) -> npt.NDArray[np.bool_]:
        """True (i, j, k) inside one part of a fitted surface."""
        return filled(vertices_mm, self.part_faces[part], grid)


def model_from_arrays(data: Any) -> PelvisModel:
    """The model of a mapping of arrays as `benchmarks/pelvis_shape_build.py` makes it."""
    return PelvisModel(
        mean_mm=np.asarray(data["mean_mm"], dtype=np.float64),
        modes_mm=np.asarray(data["modes_steps"], dtype=np.float64) * float(data["mode_step_mm"]),
        faces=np.asarray(data["faces"], dtype=np.int64),
        part=np.asarray(data["part"], dtype=np.uint8),
        edge_weight=np.asarray(data["edge_weight"], dtype=np.float64),
        endplate=np.asarray(data["endplate"], dtype=np.int64),
        acetabula=(
            np.asarray(data["acetabulum_left"], dtype=np.int64),
            np.asarray(data["acetabulum_right"], dtype=np.int64),
        ),
    )


@cache
def pelvis_model() -> PelvisModel:
    """The model that ships with the package."""
    file = resources.files(__package__) / "pelvis_shape.npz"
    with resources.as_file(file) as path, np.load(Path(path)) as data:
        return model_from_arrays(data)
