"""A phantom: the simulated CT and the truth behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import GeometryError, InputError
from sacroplasty.phantom.geometry import Geometry, geometry
from sacroplasty.phantom.sampling import sampled_hu
from sacroplasty.phantom.shape import Metal, PhantomShape
from sacroplasty.phantom.truth import true_anatomy
from sacroplasty.space import Frame, Grid, Mask, Points, Transform, Volume

# The box around the promontory, phantom frame, that holds the sacrum, the hiatus, both PSIS and the dorsal skin.
FIELD_OF_VIEW: tuple[tuple[float, float, float], tuple[float, float, float]] = (
    (-110.0, -65.0, -140.0),
    (110.0, 135.0, 60.0),
)


@dataclass(frozen=True, eq=False)
class Phantom:
    """Simulated `ct`, exact `anatomy`, the `shape` and pose it came from, and lesion masks by name."""

    ct: Volume
    anatomy: Anatomy
    shape: PhantomShape
    patient_from_phantom: Transform
    geometry: Geometry
    lesions: Mapping[str, Mask] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lesions", MappingProxyType(dict(self.lesions)))


def build_phantom(
    shape: PhantomShape | None = None,
    *,
    spacing_mm: float | tuple[float, float, float] = (0.8, 0.8, 0.8),
    slice_thickness_mm: float | None = None,
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    field_of_view_mm: tuple[tuple[float, float, float], tuple[float, float, float]] = FIELD_OF_VIEW,
    grid: Grid | None = None,
    truth_spacing_mm: float = 1.0,
    noise_hu: float = 18.0,
    blur_mm: float = 0.6,
    seed: int = 0,
    prone: bool = False,
    contrast: bool = False,
    metal: Metal = Metal.NONE,
    table: bool = False,
) -> Phantom:
    """A lumbosacral pelvis as CT and exact truth; simulated.

    The promontory lies at the patient origin; `rotation_deg` turns the patient about it (about x, y, z in turn, right
    hand rule in LPS). The CT covers `field_of_view_mm` (low and high corner, LPS mm) with `spacing_mm`, each voxel the
    mean over its box, `slice_thickness_mm` along k (default: the slice distance); or it fills a `grid` of any
    orientation. `blur_mm` is the SD of the scanner's point spread, `noise_hu` the SD of its noise, drawn with `seed`.
    The anatomy stands on an isotropic patient-aligned grid of `truth_spacing_mm` over the same box.
    """
    shape = PhantomShape.norm() if shape is None else shape
    scan = _aligned(field_of_view_mm, spacing_mm) if grid is None else grid
    thickness = scan.spacing_mm[2] if slice_thickness_mm is None else slice_thickness_mm
    if thickness <= 0 or noise_hu < 0 or blur_mm < 0:
        raise InputError(
            "Slice thickness must be positive, noise and blur not negative", got=f"{thickness}, {noise_hu}, {blur_mm}"
        )
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    move = Transform(Frame.PATIENT, Frame.PATIENT, pose, target_id=scan.frame_of_reference_uid, source_id="phantom")
    g = geometry(shape, prone=prone, contrast=contrast, metal=str(metal), table=table)
    hu = scanned(sampled_hu(scan, move.inverse.matrix, g, thickness), scan, blur_mm, noise_hu, seed)
    low, high = scan.bounds_mm
    truth = true_anatomy(shape, g, move, Grid.aligned(low, high, truth_spacing_mm, scan.frame_of_reference_uid))
    return Phantom(Volume(hu, scan), truth, shape, move, g)


def _aligned(
    box: tuple[tuple[float, float, float], tuple[float, float, float]], spacing: float | tuple[float, float, float]
) -> Grid:
    """The patient-aligned grid of a box of voxel centres."""
    steps = np.broadcast_to(np.asarray(spacing, dtype=np.float64), 3)
    size = np.asarray(box[1]) - np.asarray(box[0])
    if (steps <= 0.1).any() or (size < steps).any():
        raise GeometryError(
            "The field of view must hold at least two voxels along each axis, of more than 0.1 mm",
            got=f"spacing {steps.tolist()} mm over {size.tolist()} mm",
        )
    a, b, c = (int(n) for n in np.floor(size / steps + 1e-9).astype(int) + 1)
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = box[0]
    return Grid.from_affine((a, b, c), affine)


def scanned(
    hu: npt.NDArray[np.float32], grid: Grid, blur_mm: float, noise_hu: float, seed: int
) -> npt.NDArray[np.float32]:
    """HU after the scanner's point spread (Gaussian of SD `blur_mm` in the image plane) and correlated noise."""
    in_plane = (blur_mm / grid.spacing_mm[0], blur_mm / grid.spacing_mm[1], 0.5 * blur_mm / grid.spacing_mm[2])
    blurred = ndimage.gaussian_filter(hu, in_plane, output=np.float32) if blur_mm > 0 else hu
    if noise_hu > 0:
        white = np.random.default_rng(seed).standard_normal(hu.shape, dtype=np.float32)
        grainy = ndimage.gaussian_filter(white, (0.6, 0.6, 0.3), output=np.float32)
        blurred = blurred + grainy * np.float32(noise_hu / grainy.std())
    return np.clip(blurred, -1024.0, 3071.0).astype(np.float32)


def to_phantom(phantom: Phantom, points_mm: npt.ArrayLike) -> Points:
    """Patient LPS mm to the phantom's own frame."""
    return phantom.patient_from_phantom.inverse.points(points_mm)
