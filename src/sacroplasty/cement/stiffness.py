"""What cement does to the bone's strain: local strain round the lesion before and after, not a promise of strength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sacroplasty.cement.elasticity import compress
from sacroplasty.cement.material import bone_porosity
from sacroplasty.cement.result import DISCLAIMER, CementResult
from sacroplasty.cement.tissue import WANTED
from sacroplasty.evidence import value
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import Volume

SPACING_MM = 2.0
SHELL_MM = 5.0


@dataclass(frozen=True, eq=False)
class StiffnessResult:
    """Change by cement under an axial press of the block (simulated): ratios after / before.

    `shell_strain_ratio` is the 95th percentile of strain in bone within 5 mm of the lesion, `lesion_strain_ratio`
    that inside it, `stiffness_ratio` the whole block's.
    """

    shell_strain_ratio: float
    lesion_strain_ratio: float
    stiffness_ratio: float
    before: Volume
    after: Volume
    findings: tuple[Finding, ...]
    statement: str = DISCLAIMER


def simulate_stiffness(ct: Volume, result: CementResult, *, spacing_mm: float = SPACING_MM) -> StiffnessResult:
    """Strain before and after a simulated injection, on a coarse grid of its block pressed along the body's axis."""
    fine = result.saturation.grid
    grid = fine.resized(spacing_mm)
    even = tuple(slice(0, n - n % 4) for n in grid.shape)
    grid = grid.cropped((even[0], even[1], even[2]))
    hu = np.asarray(ct.resampled(grid).array, dtype=np.float64)
    labels = np.asarray(result.compartment_labels.resampled(grid).array)
    names = result.compartment_labels.values
    lesion = labels == names.get("lesion", -1)
    bone = np.isin(labels, [n for name, n in names.items() if name in (*WANTED, "L5") or "iliac track" in name])
    share = np.asarray(result.cement_fraction.resampled(grid, outside=0.0).array, dtype=np.float64)
    solid = 1.0 - bone_porosity(hu)
    factor, power = value("assumptions.cement_bone_modulus"), value("assumptions.cement_bone_modulus_power")
    density = solid * value("assumptions.cement_bone_tissue_density")
    soft = value("assumptions.cement_soft_modulus")
    plain = np.where(bone, np.maximum(factor * density**power, soft), soft)
    cemented = plain * (1.0 - share) + value("cement.augmented_modulus") * share
    first, second = compress(plain, spacing_mm), compress(np.maximum(plain, cemented), spacing_mm)
    shell = ndimage.distance_transform_edt(~lesion, sampling=spacing_mm) <= SHELL_MM
    shell &= bone & ~lesion
    inside = lesion if lesion.any() else bone
    round_it = shell if shell.any() else bone
    local = float(np.percentile(second.strain[round_it], 95) / np.percentile(first.strain[round_it], 95))
    core = float(second.strain[inside].mean() / first.strain[inside].mean())
    finding = Finding(
        Severity.INFO,
        "cement-stiffness",
        f"Simulated: strain round the lesion changes by {local - 1:+.0%}, inside it by {core - 1:+.0%}; the block's "
        f"stiffness by {second.force_n / first.force_n - 1:+.1%}. Cadaver sacra were not stronger with more cement.",
        evidence=("cement.local_strain_reduction", "cement.volume_against_strength"),
    )
    return StiffnessResult(
        local,
        core,
        second.force_n / first.force_n,
        Volume(first.strain.astype(np.float32), grid, "1"),
        Volume(second.strain.astype(np.float32), grid, "1"),
        (finding,),
    )
