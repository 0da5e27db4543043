"""Simulated radiographs: a CT, needles, cement and contrast seen by a posed C-arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.errors import GeometryError, InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.material import DENSITIES, Beam, Tissues
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import STEP_MM, Image, line_integrals
from sacroplasty.fluoroscopy.shadow import needle_path_mm
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import NeedlePlan
from sacroplasty.space import Volume, readonly

# Scatter varies slowly: it is blurred on a detector binned by this factor.
_SCATTER_BINNING = 8
# Attenuation at which the scatter-to-primary ratio is quoted: about 25 cm of soft tissue.
PELVIS_ATTENUATION = 5.0
# Voltages that a brightness control steps through.
_TUBE_KVP = (60.0, 70.0, 80.0, 90.0, 100.0, 110.0)
# Below this the logarithm of a signal is noise; what the collimator's leaves cover holds this.
DARKEST = 1e-6


class Seen(StrEnum):
    """What a person can expect."""

    SEEN = "seen"
    FAINT = "faint"
    NOT_SEEN = "not seen"


@dataclass(frozen=True)
class Visibility:
    """One structure in one view: how far it stands out, in standard deviations of what is around, and its meaning."""

    structure: str
    detectability: float
    seen: Seen


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A detector image as the source sees it, never mirrored.

    `signal` (rows, columns) is relative to the unattenuated beam; `view` is its pose; `simulated` shows on display.
    `purpose` says what the view is for and `visibility` what can be told apart in it, where that was judged.
    """

    signal: npt.NDArray[np.float32]
    view: View
    simulated: bool = True
    purpose: str = ""
    visibility: tuple[Visibility, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "signal", readonly(self.signal, np.float32))
        expected = (self.view.carm.rows, self.view.carm.columns)
        if self.signal.shape != expected:
            raise GeometryError("The image does not fill the detector", got=f"{self.signal.shape} for {expected}")

    @property
    def attenuation(self) -> Image:
        """-log of the signal (rows, columns): what line integrals are compared with."""
        return np.asarray(-np.log(np.maximum(self.signal, np.float32(DARKEST))))


@dataclass(frozen=True)
class Exposure:
    """How the image is taken: beam, scatter-to-primary ratio, mean x-ray quanta per pixel, detector blur in pixels."""

    beam: Beam
    scatter_to_primary: float
    quanta_per_pixel: float
    blur_pixels: float

    @staticmethod
    def typical(tube_kvp: float | None = None) -> Exposure:
        """Pulsed fluoroscopy of a pelvis with a grid, at a tube voltage."""
        return Exposure(
            Beam.typical(tube_kvp),
            value("assumptions.fluoroscopy_scatter_to_primary"),
            value("assumptions.fluoroscopy_quanta_per_pixel"),
            value("assumptions.fluoroscopy_blur"),
        )


def render(
    ct: Volume | Tissues,
    view: View,
    needles: Sequence[NeedlePlan] = (),
    *,
    cement: Volume | None = None,
    contrast: Volume | None = None,
    stylet: bool = True,
    barium_mass_fraction: float | None = None,
    exposure: Exposure | None = None,
    seed: int | None = None,
    field_mm: tuple[float, float] | None = None,
    step_mm: float = STEP_MM,
    device: str = "cpu",
) -> Radiograph:
    """The radiograph of a CT (HU) in a view, with what lies in the patient.

    needles: each from its tip back along its trajectory; without `stylet` their bores are empty.
    cement: volume share of cement per voxel, unit "1", on any grid; it takes the place of marrow.
    contrast: iodine in mg/mL, unit "mg/ml". barium_mass_fraction: of the cement powder's radiopacifier in the cement.
    exposure: None lets the automatic brightness control choose the tube voltage.
    field_mm: across and along the columns, at the isocentre, what the collimator leaves open; less field, less scatter.
    device: "cpu" or "gpu", where the line integrals of the volumes are made (see `line_integrals`).
    seed: adds quantum noise; None gives the noise-free mean. Give `Tissues.of(ct)` to render many views of one CT.
    """
    tissues = ct if isinstance(ct, Tissues) else Tissues.of(ct)
    paths = {name: _per_cm2(packed, view, step_mm, device) for name, packed in tissues.packed.items()}
    for placed in needles:
        steel_cm = needle_path_mm(view, placed, stylet) / np.float32(10)
        paths["steel"] = paths.get("steel", np.float32(0)) + steel_cm * np.float32(DENSITIES["steel"])
        paths["water"] = paths["water"] - steel_cm
    if cement is not None:
        _add_cement(paths, cement, view, barium_mass_fraction, step_mm, device)
    if contrast is not None:
        _require(contrast, "mg/ml", "Contrast")
        paths["iodine"] = _per_cm2(PackedVolume.of(contrast), view, step_mm, device) / np.float32(1000)
    how = exposure or automatic_exposure(paths)
    primary = how.beam.signal(paths)
    field = None if field_mm is None else open_field(view, field_mm)
    return Radiograph(_detected(primary, how, seed, field), view)


def open_field(view: View, field_mm: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Pixels (rows, columns) that a collimator leaves open: a rectangle across x along, in mm at the isocentre."""
    if min(field_mm) <= 0:
        raise InputError("A collimated field has a width and a height above zero", got=f"{field_mm} mm")
    carm = view.carm
    v, u = (np.abs(np.arange(n) - (n - 1) / 2) * carm.isocentre_pixel_mm for n in (carm.rows, carm.columns))
    return np.asarray((v[:, None] <= field_mm[1] / 2) & (u[None, :] <= field_mm[0] / 2))


def _per_cm2(density: PackedVolume, view: View, step_mm: float, device: str) -> Image:
    """Areal density per cm² of a map per cm³."""
    return line_integrals(density, view, step_mm, device=device) / np.float32(10)


def automatic_exposure(paths_g_cm2: Mapping[str, Image]) -> Exposure:
    """What a brightness control does: the lowest tube voltage that still brings enough through the middle of the image.

    paths_g_cm2: areal density (rows, columns) per material.
    """
    middle = {name: _middle(path)[::4, ::4] for name, path in paths_g_cm2.items()}
    enough = value("assumptions.fluoroscopy_wanted_transmission")
    for kvp in _TUBE_KVP:
        how = Exposure.typical(kvp)
        if float(np.median(how.beam.signal(middle))) >= enough:
            break
    return how


def _middle(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, columns = image.shape
    return image[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]


def _require(volume: Volume, unit: str, what: str) -> None:
    if volume.unit != unit or float(volume.array.min()) < 0:
        raise InputError(
            f"{what} must be a non-negative map in {unit}",
            got=f"unit {volume.unit}, minimum {float(volume.array.min()):.3g}",
        )


def cement_density_g_cm3(barium_mass_fraction: float) -> float:
    """Density of polymer and barium sulfate mixed by mass."""
    polymer = (1 - barium_mass_fraction) / DENSITIES["pmma"]
    return 1.0 / (polymer + barium_mass_fraction / DENSITIES["barium_sulfate"])


def _add_cement(
    paths: dict[str, Image],
    cement: Volume,
    view: View,
    barium_mass_fraction: float | None,
    step_mm: float,
    device: str,
) -> None:
    _require(cement, "1", "Cement")
    barium = value("assumptions.cement_barium_mass_fraction") if barium_mass_fraction is None else barium_mass_fraction
    if not 0 <= barium < 1 or float(cement.array.max()) > 1.001:
        raise InputError(
            "Cement is a share of each voxel, and barium a share of its mass",
            got=f"largest share {float(cement.array.max()):.3g}, barium {barium}",
        )
    filled_cm = _per_cm2(PackedVolume.of(cement), view, step_mm, device)
    density = cement_density_g_cm3(barium)
    paths["pmma"] = filled_cm * np.float32(density * (1 - barium))
    paths["barium_sulfate"] = filled_cm * np.float32(density * barium)
    paths["water"] = np.maximum(paths["water"] - filled_cm, 0)


def _detected(primary: Image, how: Exposure, seed: int | None, field: npt.NDArray[np.bool_] | None) -> Image:
    """Primary signal with scatter, quantum noise and detector blur; dark where the collimator covers the detector."""
    if field is not None:
        primary = primary * field
    signal = np.asarray(primary + np.float32(how.scatter_to_primary) * _scattered(primary), dtype=np.float32)
    if seed is not None:
        lit = _middle(signal) if field is None else signal[field]
        quanta = how.quanta_per_pixel / max(float(np.median(lit)), DARKEST)
        counts = np.random.default_rng(seed).poisson(signal * quanta)
        signal = (counts / quanta).astype(np.float32)
    if how.blur_pixels > 0:
        signal = np.asarray(ndimage.gaussian_filter(signal, how.blur_pixels, mode="nearest"))
    if field is not None:
        signal = np.where(field, signal, np.float32(DARKEST))
    return np.asarray(np.maximum(signal, np.float32(DARKEST)))


def _scattered(primary: Image) -> Image:
    """What the patient scatters, spread widely: as much as the primary at the attenuation of a pelvis, none in air.

    Convolution model: a column of tissue scatters in proportion to what it lets through and to its attenuation.
    """
    n = min(_SCATTER_BINNING, *primary.shape)
    made = primary * -np.log(np.maximum(primary, np.float32(DARKEST))) / np.float32(PELVIS_ATTENUATION)
    rows, columns = (size // n * n for size in primary.shape)
    small = made[:rows, :columns].reshape(rows // n, n, columns // n, n).mean(axis=(1, 3))
    spread = ndimage.gaussian_filter(small, min(small.shape) / 10, mode="nearest")
    place = [(np.arange(size) + 0.5) / n - 0.5 for size in primary.shape]
    v, u = (np.clip(p, 0, size - 1) for p, size in zip(place, spread.shape, strict=True))
    low = [np.minimum(p.astype(int), size - 2) for p, size in zip((v, u), spread.shape, strict=True)]
    fv, fu = (v - low[0])[:, None], (u - low[1])[None, :]
    top = spread[low[0]][:, low[1]] * (1 - fu) + spread[low[0]][:, low[1] + 1] * fu
    bottom = spread[low[0] + 1][:, low[1]] * (1 - fu) + spread[low[0] + 1][:, low[1] + 1] * fu
    return np.asarray(top * (1 - fv) + bottom * fv, dtype=np.float32)
