"""What absorbs x-rays: mass attenuation of the materials, the beam's spectrum, and materials from Hounsfield units.

Physical constants, not clinical numbers: mass attenuation in cm²/g, averaged over bins of 10 keV from 20 to 120 keV,
from the Elam, Ravel & Sieber (2002) tables as published in XrayDB 4.5.8; they agree with NIST's XCOM to 0.1 % at 40, 60
and 80 keV. Compositions: ICRU-44 cortical bone, stainless steel 70/18/12 Fe/Cr/Ni.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.space import Volume

ENERGIES_KEV = np.arange(25.0, 120.0, 10.0)

_MASS_ATTENUATION_CM2_G = {
    "water": (0.5354, 0.3122, 0.2449, 0.2154, 0.1989, 0.1880, 0.1800, 0.1736, 0.1682, 0.1635),
    "cortical_bone": (2.322, 0.9364, 0.5275, 0.3632, 0.2832, 0.2386, 0.2111, 0.1928, 0.1797, 0.1698),
    "pmma": (0.4022, 0.2632, 0.2196, 0.1993, 0.1872, 0.1787, 0.1720, 0.1666, 0.1618, 0.1576),
    "barium_sulfate": (10.82, 7.567, 11.04, 6.516, 4.186, 2.874, 2.074, 1.558, 1.209, 0.9654),
    "iodine": (14.92, 21.65, 16.58, 9.692, 6.176, 4.201, 3.003, 2.233, 1.716, 1.355),
    "steel": (14.65, 5.453, 2.657, 1.528, 0.9860, 0.6930, 0.5202, 0.4113, 0.3389, 0.2886),
    "titanium": (9.029, 3.337, 1.641, 0.9632, 0.6396, 0.4651, 0.3620, 0.2966, 0.2530, 0.2224),
    "aluminium": (1.980, 0.7955, 0.4537, 0.3177, 0.2517, 0.2148, 0.1920, 0.1765, 0.1654, 0.1569),
    "caesium_iodide": (15.76, 18.48, 17.26, 10.13, 6.459, 4.399, 3.147, 2.341, 1.798, 1.419),
}
# g/cm³
DENSITIES = {
    "water": 1.0,
    "cortical_bone": 1.92,
    "pmma": 1.19,
    "barium_sulfate": 4.5,
    "steel": 7.9,
    "titanium": 4.51,
    "aluminium": 2.70,
    "caesium_iodide": 4.51,
}
MATERIALS = ("water", "cortical_bone", "titanium", "pmma", "barium_sulfate", "iodine", "steel")
# The energy at which a CT's Hounsfield units are read: effective energy of a filtered 120 kVp beam.
_CT_BIN = 4  # 60-70 keV


def mass_attenuation_cm2_g(material: str) -> npt.NDArray[np.float64]:
    """Mass attenuation (10,) at ENERGIES_KEV."""
    if material not in _MASS_ATTENUATION_CM2_G:
        raise InputError(
            "The material is not in the table", got=material, remedy=f"Use {', '.join(_MASS_ATTENUATION_CM2_G)}"
        )
    return np.array(_MASS_ATTENUATION_CM2_G[material])


@dataclass(frozen=True)
class Beam:
    """Tube voltage, total filtration and scintillator thickness."""

    tube_kvp: float
    aluminium_mm: float
    scintillator_mm: float

    def __post_init__(self) -> None:
        if not 40 <= self.tube_kvp <= 120 or self.aluminium_mm < 0 or self.scintillator_mm <= 0:
            raise InputError("The beam is outside 40 to 120 kVp or its filters are negative", got=str(self))

    @staticmethod
    def typical(tube_kvp: float | None = None) -> Beam:
        """A pelvis under fluoroscopy, at a tube voltage."""
        return Beam(
            value("assumptions.fluoroscopy_tube") if tube_kvp is None else tube_kvp,
            value("assumptions.fluoroscopy_filtration"),
            value("assumptions.fluoroscopy_scintillator"),
        )

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Share (10,) of the signal that each energy gives without a patient; they add up to 1.

        Kramers' bremsstrahlung, filtered, absorbed and weighted by energy in a caesium iodide scintillator.
        """
        emitted = np.maximum(self.tube_kvp / ENERGIES_KEV - 1.0, 0.0)
        filtered = np.exp(-mass_attenuation_cm2_g("aluminium") * DENSITIES["aluminium"] * self.aluminium_mm / 10.0)
        scintillator = mass_attenuation_cm2_g("caesium_iodide") * DENSITIES["caesium_iodide"]
        absorbed = 1.0 - np.exp(-scintillator * self.scintillator_mm / 10.0)
        signal = emitted * filtered * absorbed * ENERGIES_KEV
        return np.asarray(signal / signal.sum())

    def signal(self, paths_g_cm2: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Detector signal relative to the bare beam, of areal densities (rows, columns) per material in g/cm²."""
        if not paths_g_cm2:
            raise InputError("A beam needs at least one material in its way", remedy="Give a path of zeros")
        total = np.zeros(next(iter(paths_g_cm2.values())).shape, dtype=np.float32)
        tables = {name: mass_attenuation_cm2_g(name) for name in paths_g_cm2}
        for n, weight in enumerate(self.weights):
            if weight < 1e-6:
                continue
            exponent = sum(np.float32(tables[name][n]) * path for name, path in paths_g_cm2.items())
            total += np.float32(weight) * np.exp(-np.asarray(exponent, dtype=np.float32))
        return total


def bone_fraction(hounsfield: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Volume share of cortical bone in each voxel: none up to the soft-tissue bound, then rising linearly in HU.

    The rest is soft tissue of the bound's density, so that the mixture has the CT's attenuation at its own energy.
    """
    bound = value("assumptions.soft_tissue_upper_hu")
    hu = np.asarray(hounsfield, dtype=np.float32)
    return np.asarray(np.maximum(hu - np.float32(bound), 0) / np.float32(cortical_bone_hu() - bound))


def cortical_bone_hu() -> float:
    """Hounsfield units of solid cortical bone at the CT's energy."""
    bone = mass_attenuation_cm2_g("cortical_bone")[_CT_BIN] * DENSITIES["cortical_bone"]
    return 1000.0 * (float(bone) / float(mass_attenuation_cm2_g("water")[_CT_BIN]) - 1.0)


@dataclass(frozen=True, eq=False)
class Tissues:
    """A CT taken apart for projecting: packed densities in g/cm³ of water, cortical bone and, where present, metal."""

    packed: Mapping[str, PackedVolume]

    def __post_init__(self) -> None:
        object.__setattr__(self, "packed", MappingProxyType(dict(self.packed)))

    @staticmethod
    def of(ct: Volume) -> Tissues:
        """Water, bone and metal of a CT in HU; voxels above the metal bound count as solid titanium."""
        if ct.unit != "HU":
            raise InputError("A radiograph is made from a CT in Hounsfield units", got=f"unit {ct.unit}")
        bound = value("assumptions.soft_tissue_upper_hu")
        metal = np.greater_equal(ct.array, value("assumptions.metal_lower_hu"))
        soft = np.clip(1.0 + np.asarray(ct.array, dtype=np.float32) / 1000.0, 0.0, 1.0 + bound / 1000.0)
        bone = bone_fraction(ct.array)
        soft *= np.clip(1.0 - bone, 0.0, 1.0)
        bone *= np.float32(DENSITIES["cortical_bone"])
        soft[metal] = 0.0
        bone[metal] = 0.0
        packed = {
            "water": PackedVolume.of(Volume(soft, ct.grid, "g/cm3")),
            "cortical_bone": _packed_where_present(bone, ct),
        }
        if metal.any():
            density = metal.astype(np.float32) * np.float32(DENSITIES["titanium"])
            packed["titanium"] = _packed_where_present(density, ct)
        return Tissues(packed)


def _packed_where_present(density: npt.NDArray[np.float32], ct: Volume) -> PackedVolume:
    """The box that holds every voxel above zero, packed: bone fills a fraction of a CT."""
    volume = Volume(density, ct.grid, "g/cm3")
    present = density > 0
    ends = []
    for axis in range(3):
        hits = np.flatnonzero(present.any(axis=tuple(a for a in range(3) if a != axis)))
        ends.append(slice(int(hits[0]), int(hits[-1]) + 1) if hits.size else slice(0, 1))
    return PackedVolume.of(volume.cropped((ends[0], ends[1], ends[2])))


def attenuation_per_mm(ct: Volume, energy_kev: float) -> Volume:
    """Attenuation in 1/mm of a CT at one energy, for registration: piecewise linear in HU."""
    water = np.interp(energy_kev, ENERGIES_KEV, mass_attenuation_cm2_g("water"))
    bone = np.interp(energy_kev, ENERGIES_KEV, mass_attenuation_cm2_g("cortical_bone")) * DENSITIES["cortical_bone"]
    bound = value("assumptions.soft_tissue_upper_hu")
    soft = 1.0 + bound / 1000.0
    knots = [-1000.0, bound, cortical_bone_hu(), 4000.0]
    slope = (bone - water * soft) / (cortical_bone_hu() - bound)
    heights = np.array([0.0, water * soft, bone, bone + slope * (4000.0 - cortical_bone_hu())]) / 10.0
    return Volume(np.interp(np.asarray(ct.array, dtype=np.float32), knots, heights).astype(np.float32), ct.grid, "1/mm")
