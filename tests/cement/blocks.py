"""Blocks with known answers, shared by the tests of this room."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from sacroplasty.cement import FlowResult, Medium, Source, inject

PERMEABILITY_M2, POROSITY, CEMENT_PA_S, MARROW_PA_S, RATE_ML_S = 5e-9, 0.85, 50.0, 0.1, 0.05


def uniform(n: int = 32, spacing_mm: float = 1.25, tensor: tuple[float, float, float] | None = None) -> Medium:
    """A homogeneous cube; with `tensor` an anisotropic one."""
    permeability: npt.NDArray[np.float64] = np.full((n, n, n), PERMEABILITY_M2)
    if tensor is not None:
        permeability = permeability[..., None] * np.array(tensor)
    return Medium(permeability, np.full((n, n, n), POROSITY), spacing_mm)


def centre(medium: Medium) -> Source:
    """The middle voxel."""
    return Source.at([n // 2 for n in medium.porosity.shape], 0.9)


def injected(medium: Medium, volume_ml: float = 3.0, **changes: object) -> FlowResult:
    """The standard Newtonian injection into a block."""
    options: dict[str, object] = {
        "volume_ml": volume_ml, "rate_ml_s": RATE_ML_S, "cement": CEMENT_PA_S, "marrow_pa_s": MARROW_PA_S,
    }  # fmt: skip
    options.update(changes)
    source = options.pop("source", None) or centre(medium)
    return inject(medium, source, **options)  # type: ignore[arg-type]


def cone_radius_mm(
    saturation: npt.NDArray[np.float64], spacing_mm: float, middle: npt.ArrayLike, family: tuple[int, int, int]
) -> float:
    """Radius of the cloud within 12 degrees of all lattice directions of a family such as (1, 1, 0)."""
    signs = itertools.product(*[(d, -d) for d in family])
    directions = {p for s in signs for p in itertools.permutations(s)}
    unit = np.array(sorted(directions)) / np.linalg.norm(family)
    cosine, total = np.cos(np.radians(12.0)), 0.0
    index = np.argwhere(saturation > 0)
    for shift in itertools.product((-0.375, -0.125, 0.125, 0.375), repeat=3):
        offset = index + np.array(shift) - np.asarray(middle)
        distance = np.linalg.norm(offset, axis=1) + 1e-9
        inside = (offset @ unit.T).max(axis=1) / distance > cosine
        total += saturation[tuple(index[inside].T)].sum() / 64
    solid_angle = len(unit) * 2 * np.pi * (1 - cosine)
    return float((3 * total / solid_angle) ** (1 / 3)) * spacing_mm
