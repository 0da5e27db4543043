"""An MRI brought to the CT's place: rigid, by mutual information around the sacrum, refused where it is not sure.

The pelvis moves as one piece between two examinations; skin, bowel and bladder do not, so that only the sacrum and a
few millimetres around it are compared. Mattes et al. 2003 (IEEE TMI 22:120); SimpleITK does the arithmetic.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.pose import turn
from sacroplasty.errors import AnatomyError, InputError
from sacroplasty.evidence import value
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import Frame, Grid, Mask, Points, Transform, Volume

# Grid of the comparison and the margin around the sacrum that belongs to it.
SPACING_MM, MARGIN_MM = 1.5, 12.0
CT_WINDOW_HU = (-200.0, 600.0)
BINS, SEED = 32, 7
# First look: places of the sacrum in the MRI's field, and its tilt about the left-right axis.
PLACE_STEP_MM, SIDE_STEP_MM, TILTS_DEG = 12.0, 8.0, (-12.0, 0.0, 12.0)
COARSE_MM = 3.0
STARTS, CLASSES = 4, 16
FEW, MANY = 1500, 20000
# A place that shows less of the surroundings than this is none.
LEAST_SEEN = 0.25
# At the answer, mutual information must fall when the MRI is moved by this much along any axis.
NUDGE_MM = 6.0
# Runs that end within this of the best are the same answer.
SAME_MM = 2.0


@dataclass(frozen=True, eq=False)
class MRRegistration:
    """Where an MRI lies in the CT's patient frame.

    ct_from_mr: rigid transform of LPS mm. mutual_information: at the answer, in nats. prominence: by which share it
    falls, at least, when the MRI is moved by 6 mm along an axis. agreement: share of independent starts that ended
    within 2 mm. uncertainty_mm: one standard deviation per axis of the sacrum's corners over those. overlap: share of
    the sacrum inside the MRI.
    """

    ct_from_mr: Transform
    mutual_information: float
    prominence: float
    agreement: float
    uncertainty_mm: float
    overlap: float

    def carried(self, drawn: Mask, ct: Grid) -> Mask:
        """A mask drawn on the MRI, on the CT's grid (nearest voxel of the MRI)."""
        box = ct.box_around(self.ct_from_mr.points(drawn.points_mm()), margin_mm=max(drawn.grid.spacing_mm))
        part = ct.cropped(box)
        array = np.zeros(ct.shape, bool)
        array[box] = drawn.contains(self.ct_from_mr.inverse.points(part.centres_mm()))
        return Mask(array, ct)

    @property
    def finding(self) -> Finding:
        """What the reader of a report must know of it."""
        return Finding(
            Severity.INFO,
            "SAC-A140",
            f"The MRI was laid on the CT by rigid registration of the sacrum: {self.agreement:.0%} of starts agree, "
            f"± {self.uncertainty_mm:.1f} mm, {self.overlap:.0%} of the sacrum seen. Check it at the promontory",
            "MRI",
        )


def register_mr(ct: Volume, mr: Volume, sacrum: Mask) -> MRRegistration:
    """The place of an MRI (any grid, arbitrary units) in the frame of a CT (HU), told by the sacrum of the CT.

    Needs the `register` extra. AnatomyError, never a guess, where the starts disagree, the optimum is flat or too
    little of the sacrum lies in the MRI.
    """
    sitk = _simpleitk()
    around, where = _neighbourhood(ct, sacrum)
    images = _Images(sitk, around, where, mr)
    corners = Grid.aligned(*sacrum.grid.cropped(sacrum.grid.box_around(sacrum.points_mm())).bounds_mm, 50.0).corners_mm
    runs = sorted((images.refined(start) for start in images.starts()), key=lambda run: -run[0])
    places = np.array([move.points(corners) for _, move in runs])
    apart = np.linalg.norm(places - places[0], axis=2).mean(axis=1)
    same = apart < SAME_MM
    information, mr_from_ct = runs[0]
    found = MRRegistration(
        ct_from_mr=mr_from_ct.inverse,
        mutual_information=information,
        prominence=images.prominence(mr_from_ct),
        agreement=float(same.mean()),
        uncertainty_mm=float(np.hypot(places[same].std(axis=0).mean(), value("assumptions.mr_registration_sd"))),
        overlap=float(mr.grid.contains(mr_from_ct.points(sacrum.points_mm()[::50])).mean()),
    )
    _require_sure(found)
    return found


def _require_sure(found: MRRegistration) -> None:
    limits = {
        "agreement": value("assumptions.mr_registration_agreement"),
        "prominence": value("assumptions.mr_registration_prominence"),
        "overlap": value("assumptions.mr_registration_overlap"),
    }
    weak = [f"{name} {getattr(found, name):.2f}, needed {limit:.2f}" for name, limit in limits.items()
            if not getattr(found, name) >= limit]  # fmt: skip
    if weak:
        raise AnatomyError(
            "The MRI could not be laid on the CT",
            got="; ".join(weak),
            remedy="Use an MRI of the same patient that shows S1 to S3, or register it by hand and give labels",
        )


def _simpleitk() -> ModuleType:
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise InputError(
            "Registering an MRI needs SimpleITK", remedy="Install it with `pip install sacroplasty[register]`"
        ) from error
    return sitk


def _neighbourhood(ct: Volume, sacrum: Mask) -> tuple[Volume, Mask]:
    """The windowed CT and the sacrum with its surroundings, on an isotropic grid around it."""
    low, high = sacrum.grid.cropped(sacrum.grid.box_around(sacrum.points_mm(), margin_mm=MARGIN_MM)).bounds_mm
    grid = Grid.aligned(low, high, SPACING_MM, ct.grid.frame_of_reference_uid)
    values = np.asarray(ct.resampled(grid).array)
    inside = sacrum.resampled(grid).array
    near = ndimage.distance_transform_edt(~inside) * SPACING_MM <= MARGIN_MM
    # Nothing was measured at and below -1020 HU; a reformat's corner must not be matched.
    return Volume(np.clip(values, *CT_WINDOW_HU), grid), Mask(near & (values > -1020.0), grid)


class _Images:
    """Both images as SimpleITK has them, and the metric between them."""

    def __init__(self, sitk: ModuleType, ct: Volume, where: Mask, mr: Volume) -> None:
        self.sitk = sitk
        self.ids = (mr.grid.frame_of_reference_uid, ct.grid.frame_of_reference_uid)
        self.fixed, mask = _image(sitk, ct), _image(sitk, Volume(where.array.astype(np.float32), where.grid, "1"))
        self.where = sitk.Cast(mask > 0.5, sitk.sitkUInt8)
        values = np.asarray(mr.array, dtype=np.float32)
        top = max(float(np.percentile(values, 99.5)), 1.0)
        self.ct, self.mr = ct, Volume(np.clip(values, 0, top) / np.float32(top), mr.grid, "1")
        self.moving = _image(sitk, self.mr)
        blur = [COARSE_MM / 2 / step for step in mr.grid.spacing_mm]
        self.smooth = Volume(ndimage.gaussian_filter(np.asarray(self.mr.array), blur), mr.grid, "1")
        self.near_mm = where.points_mm()
        self.centre = self.near_mm.mean(axis=0)

    def method(self, share: float) -> Any:
        """Mutual information over a share of the voxels around the sacrum."""
        method = self.sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, SEED)
        method.SetMetricFixedMask(self.where)
        method.SetInterpolator(self.sitk.sitkLinear)
        method.SetNumberOfThreads(1)
        return method

    def information(self, mr_from_ct: Transform) -> float:
        """Mutual information (nats) of the images under a transform, 0 where they hardly overlap."""
        points, classes = self.samples(MANY)
        return _information(classes, self.smooth.sampled(mr_from_ct.points(points), outside=-1.0))

    def starts(self) -> list[Any]:
        """The best of all places and tilts, each well apart from the others."""
        low, high = self.mr.grid.bounds_mm
        middle = (low + high) / 2
        reach = np.array([SIDE_STEP_MM, *((high - low)[1:] / 2 - PLACE_STEP_MM)])
        steps = (SIDE_STEP_MM, PLACE_STEP_MM, PLACE_STEP_MM)
        axes = [np.arange(-r, r + 0.1, step) for r, step in zip(reach, steps, strict=True)]
        offsets = np.array(list(itertools.product(*axes)))
        points, classes = self.samples(FEW)
        tried = []
        for tilt in TILTS_DEG:
            turned = turn((tilt, 0.0, 0.0))
            for offset in offsets:
                seen = self.smooth.sampled((points - self.centre) @ turned.T + middle + offset, outside=-1.0)
                tried.append((_information(classes, seen), tilt, offset))
        tried.sort(key=lambda one: -one[0])
        kept: list[tuple[float, float, Points]] = []
        for one in tried:
            apart = (np.linalg.norm(one[2] - k[2]) > 1.1 * PLACE_STEP_MM or one[1] != k[1] for k in kept)
            if len(kept) < STARTS and all(apart):
                kept.append(one)
        return [self.rigid(tilt, middle + offset - self.centre) for _, tilt, offset in kept]

    def samples(self, count: int) -> tuple[Points, npt.NDArray[np.int64]]:
        """Positions (n, 3) around the sacrum, LPS mm, and the class of the CT there."""
        points = self.near_mm[np.random.default_rng(SEED).permutation(len(self.near_mm))[:count]]
        share = (self.ct.sampled(points) - CT_WINDOW_HU[0]) / (CT_WINDOW_HU[1] - CT_WINDOW_HU[0])
        return points, np.clip((share * CLASSES).astype(np.int64), 0, CLASSES - 1)

    def rigid(self, tilt_deg: float, shift_mm: Points) -> Any:
        """Turn about the left-right axis through the sacrum, then shift, from CT to MRI."""
        transform = self.sitk.Euler3DTransform()
        transform.SetCenter([float(c) for c in self.centre])
        transform.SetRotation(float(np.deg2rad(tilt_deg)), 0.0, 0.0)
        transform.SetTranslation([float(t) for t in shift_mm])
        return transform

    def refined(self, start: Any) -> tuple[float, Transform]:
        """Mutual information and the transform (MRI from CT) at the optimum near a start."""
        method = self.method(0.06)
        method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 80, 0.6, 1e-5)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([2, 1])
        method.SetSmoothingSigmasPerLevel([2.0, 0.7])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        transform = self.sitk.Euler3DTransform(start)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(self.fixed, self.moving)
        except RuntimeError:
            transform = start
        found = self.as_transform(transform)
        return self.information(found), found

    def as_transform(self, transform: Any) -> Transform:
        """The package's transform of SimpleITK's."""
        matrix = np.eye(4)
        origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
        for axis in range(3):
            matrix[:3, axis] = np.array(transform.TransformPoint([float(axis == n) for n in range(3)])) - origin
        matrix[:3, 3] = origin
        return Transform(Frame.PATIENT, Frame.PATIENT, matrix, *self.ids)

    def prominence(self, mr_from_ct: Transform) -> float:
        """By which share the mutual information falls, at least, when the MRI is moved along one axis."""
        values = [self.information(mr_from_ct)]
        for axis, sign in itertools.product(range(3), (-1.0, 1.0)):
            matrix = mr_from_ct.matrix.copy()
            matrix[axis, 3] += sign * NUDGE_MM
            values.append(self.information(Transform(Frame.PATIENT, Frame.PATIENT, matrix, *self.ids)))
        return float(1.0 - max(values[1:]) / max(values[0], 1e-9))


def _information(classes: npt.NDArray[np.int64], seen: npt.NDArray[np.float32]) -> float:
    """Mutual information (nats) of CT classes and MRI values in 0..1 (negative: not seen) at the same places."""
    valid = seen >= 0
    if valid.mean() < LEAST_SEEN:
        return 0.0
    other = np.minimum((seen[valid] * CLASSES).astype(np.int64), CLASSES - 1)
    joint = np.bincount(classes[valid] * CLASSES + other, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    joint = joint / joint.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    # Places at the rim of the MRI see little and match by chance.
    return float((joint[there] * np.log(joint[there] / independent[there])).sum() * valid.mean())


def _image(sitk: ModuleType, volume: Volume) -> Any:
    """A SimpleITK image with the volume's geometry; both count LPS mm."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(volume.array, dtype=np.float32).transpose(2, 1, 0)))
    axes = volume.grid.patient_from_voxel.vectors(np.eye(3)).T
    spacing = np.asarray(volume.grid.spacing_mm)
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(o) for o in volume.grid.patient_from_voxel.points((0.0, 0.0, 0.0))])
    image.SetDirection([float(v) for v in (axes / spacing).ravel()])
    return image
