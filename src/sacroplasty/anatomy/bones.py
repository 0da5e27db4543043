"""Bones and body of a CT: found by a shape model and random walks, or completed from given labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import given_labels, labelling
from sacroplasty.anatomy.body import METAL_HU, NO_DATA_HU, CoarseBody, coarse_body, field_findings, fine_body, isotropic
from sacroplasty.anatomy.border import sacral_border
from sacroplasty.anatomy.coccyx import split_coccyx
from sacroplasty.anatomy.confidence import Signs, bone_confidences, confidence_findings, level_findings
from sacroplasty.anatomy.joints import VALUE, with_clefts
from sacroplasty.anatomy.lumbar import lumbar_discs
from sacroplasty.anatomy.marrow import fill_marrow, fill_sacral_marrow
from sacroplasty.anatomy.neighbour_levels import LevelChoice, best_level, distinct
from sacroplasty.anatomy.pose import muscle_hu, pose_hypotheses
from sacroplasty.anatomy.shape_fit import FULL, Images, fitted_shape, refined, started
from sacroplasty.anatomy.shape_model import CAUDAL, SACRUM, PelvisModel, pelvis_model
from sacroplasty.anatomy.signed_distance import refined_labels
from sacroplasty.anatomy.structures import STRUCTURES
from sacroplasty.anatomy.surroundings import Surroundings, endplate_plane, surroundings
from sacroplasty.anatomy.working_grid import working_grid
from sacroplasty.errors import AnatomyError
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import LabelMap, Mask, Points, Volume

Labels = npt.NDArray[np.uint8]
Progress = Callable[[float, str], None]

COARSE_MM = 2.0
# Margins of the coarse labelling around the fitted surface: the coccyx below, L5 and L4 above.
COARSE_LOW_MM, COARSE_HIGH_MM = np.array([25.0, 25.0, 65.0]), np.array([25.0, 25.0, 55.0])
# The column in which a vertebral body must be: radius, and distance from the middle of either disc.
L5_COLUMN_MM, OFF_DISC_MM = 15.0, 8.0
# After so many rounds of the fit, those that met in one place go on as one.
TOLD_APART = 3
# Share of seen vertices on an edge, and of vertices seen, before a fit is called a pelvis.
LEAST_AGREEMENT, LEAST_SEEN = 0.45, 0.2
OF_CLASS = {
    labelling.BONE_SACRUM: "sacrum",
    labelling.BONE_HIP_LEFT: "hip_left",
    labelling.BONE_HIP_RIGHT: "hip_right",
    labelling.BONE_L5: "l5",
    labelling.BONE_L4: "l4",
}


@dataclass(frozen=True, eq=False)
class BoneSegmentation:
    """Bones (names of STRUCTURES) and body on one isotropic grid along the patient's axes.

    `ct` is the CT on that grid; `scanned` is False where nothing was measured; `confidences` are 0 to 1 per structure.
    """

    labels: LabelMap
    body: Mask
    ct: Volume
    scanned: Mask
    confidences: dict[str, float]
    findings: tuple[Finding, ...]
    source: str


def segment_bones(
    ct: Volume, labels: LabelMap | None = None, *, progress: Progress | None = None, model: PelvisModel | None = None
) -> BoneSegmentation:
    """Sacrum, coccyx, L5, hip bones, femora, clefts and body of a CT in HU.

    With `labels`, those are taken as they are and completed; without, everything is found in the CT. The grid has
    0.8 to 1 mm spacing. AnatomyError where no pelvis is seen or given labels contradict themselves.
    """
    tell = progress or (lambda fraction, message: None)
    tell(0.0, "body")
    body = coarse_body(ct)
    if labels is None:
        return _found(ct, body, model or pelvis_model(), tell)
    given, remarks = given_labels.mapped(labels)
    remarks += given_labels.checked(given, ct)
    if given.has("hip_left") and given.has("hip_right"):
        return _completed(ct, body, given, remarks)
    found = _found(ct, body, model or pelvis_model(), tell)
    return _overlaid(found, given, remarks)


def fitted_pelvis(ct: Volume, body: CoarseBody, model: PelvisModel) -> tuple[LevelChoice, Points]:
    """The fit of the shape model, told from the neighbouring levels, and its freely refined vertices (n, 3).

    AnatomyError where no pelvis is seen.
    """
    muscle = muscle_hu(body)
    images = Images(isotropic(ct, COARSE_MM), muscle)
    starts = [started(model, pose) for pose in pose_hypotheses(body, muscle, model)]
    roughly = distinct([fitted_shape(images, model, start, FULL[:TOLD_APART]) for start in starts], model)
    choice = best_level(images, model, *(fitted_shape(images, model, one, FULL[TOLD_APART:]) for one in roughly))
    fit = choice.fit
    if fit.agreement < LEAST_AGREEMENT or fit.seen < LEAST_SEEN:
        raise AnatomyError(
            "No pelvis is recognised in the scan",
            got=f"{fit.agreement:.0%} of the model's surface on bone edges, {fit.seen:.0%} of it in the field",
            remedy="Use a CT that shows the sacrum with both sacroiliac joints, or give labels",
        )
    return choice, refined(images, model, fit)


def _found(ct: Volume, body: CoarseBody, model: PelvisModel, tell: Progress) -> BoneSegmentation:
    tell(0.05, "pelvis")
    choice, vertices = fitted_pelvis(ct, body, model)
    tell(0.4, "coarse bones")
    coarse = isotropic(ct, COARSE_MM, vertices.min(axis=0) - COARSE_LOW_MM, vertices.max(axis=0) + COARSE_HIGH_MM)
    inside = fine_body(coarse, body)
    discs = lumbar_discs(coarse, *endplate_plane(model, vertices))
    place = surroundings(model, vertices, discs, coarse.grid)
    bone = labelling.bone_probability(_smoothed(coarse), place, inside)
    here = labelling.without_discs(bone(_smoothed(coarse)), discs, coarse.grid.centres_mm(), _smoothed(coarse))
    shares = labelling.coarse_classes(coarse, inside, place, here)
    tell(0.6, "fine bones")
    sacrum = np.argwhere(shares.argmax(axis=-1) == labelling.BONE_SACRUM)
    reach = np.concatenate(
        [coarse.grid.patient_from_voxel.points(sacrum), vertices[np.isin(model.part, (SACRUM, CAUDAL))]]
    )
    grid = working_grid(ct.grid, reach, body)
    fine = isotropic(ct, grid.spacing_mm[0], *grid.bounds_mm)
    skin = fine_body(fine, body)
    classes = labelling.fine_classes(fine, skin, shares, coarse.grid, bone, discs)
    resolution = np.abs(ct.grid.affine_lps[:3, :3]).max(axis=1)
    classes = labelling.trimmed_to_half_maximum(fine, classes, bone.muscle_hu, tuple(resolution))
    tell(0.9, "joints")
    array = _structures(classes, fine, model, vertices, bone.muscle_hu, max(ct.grid.spacing_mm))
    array[(np.asarray(fine.array) > METAL_HU) & skin] = VALUE["metal"]
    labels = LabelMap(with_clefts(array, grid.spacing_mm[0]), fine.grid, STRUCTURES)
    signs = _signs(coarse, place, inside, bone, choice, labels, fine)
    confidences, seen = bone_confidences(coarse, model, vertices, bone.muscle_hu, labels, discs, signs)
    findings = level_findings(signs) + confidence_findings(confidences, seen, ct, labels)
    return _assembled(labels, skin, fine, body, confidences, findings, "bare CT")


def _signs(
    coarse: Volume, place: Surroundings, inside: npt.NDArray[np.bool_], bone: labelling.BoneProbability,
    choice: LevelChoice, labels: LabelMap, fine: Volume,
) -> Signs:  # fmt: skip
    """What the fit, the marrow and the labels say about their own worth."""
    deep = (place.sacrum < -4) & inside
    contrast = float(np.median(np.asarray(coarse.array)[deep])) - bone.muscle_hu if deep.any() else 0.0
    column = (place.beside_spine < L5_COLUMN_MM) & (place.above_disc > OFF_DISC_MM) & (place.above_l5 < -OFF_DISC_MM)
    points = coarse.grid.patient_from_voxel.points(np.argwhere(column & inside))
    points = points[labels.grid.contains(points)] if len(points) else points
    filled = float(labels.mask("l5").contains(points).mean()) if len(points) else 0.0
    border = sacral_border(fine, labels, bone.muscle_hu).agreement
    return Signs(contrast, choice.score, choice.runner_up, filled, border)


def _smoothed(ct: Volume) -> npt.NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(np.asarray(ct.array), 0.4))


def _structures(
    classes: Labels, ct: Volume, model: PelvisModel, vertices: Points, muscle: float, slice_mm: float
) -> Labels:
    """Values of STRUCTURES from the walk's classes: femora by side, the coccyx cut from the sacrum."""
    table = np.zeros(labelling.CLASSES, np.uint8)
    for value, name in OF_CLASS.items():
        table[value] = VALUE[name]
    array = table[classes]
    for name in ("l5", "l4", "hip_left", "hip_right"):
        fill_marrow(array, VALUE[name])
    fill_sacral_marrow(array, ct, muscle, slice_mm)
    middle = ct.grid.voxel_from_patient.points(vertices[model.part == SACRUM].mean(axis=0))[0]
    femur = classes == labelling.BONE_FEMUR
    split = int(np.clip(round(middle), 0, array.shape[0]))
    array[:split][femur[:split]] = VALUE["femur_right"]
    array[split:][femur[split:]] = VALUE["femur_left"]
    split_coccyx(array, ct, vertices[model.part == CAUDAL])
    return array


def _assembled(
    labels: LabelMap,
    skin: npt.NDArray[np.bool_],
    ct: Volume,
    body: CoarseBody,
    confidences: dict[str, float],
    findings: tuple[Finding, ...],
    source: str,
) -> BoneSegmentation:
    scanned = np.asarray(ct.array) > NO_DATA_HU
    field = field_findings(body)
    confidences = {**confidences, "skin": 0.7 if field else 1.0}
    return BoneSegmentation(
        labels, Mask(skin, ct.grid), ct, Mask(scanned, ct.grid), confidences, findings + field, source
    )


def _completed(ct: Volume, body: CoarseBody, given: LabelMap, remarks: tuple[Finding, ...]) -> BoneSegmentation:
    """Given bones on the working grid with skin, metal and clefts added; nothing of what was given is moved."""
    sacrum = given.grid.patient_from_voxel.points(np.argwhere(given.array == VALUE["sacrum"]))
    grid = working_grid(ct.grid, sacrum, body)
    fine = isotropic(ct, grid.spacing_mm[0], *grid.bounds_mm)
    skin = fine_body(fine, body)
    array = np.array(refined_labels(given, fine.grid).array)
    array[(array == 0) & (np.asarray(fine.array) > METAL_HU) & skin] = VALUE["metal"]
    labels = LabelMap(with_clefts(array, grid.spacing_mm[0]), fine.grid, STRUCTURES)
    confidences = {name: 0.95 for name in STRUCTURES.values() if labels.has(name)}
    for finding in remarks:
        if finding.structure in confidences and finding.severity is Severity.WARNING:
            confidences[finding.structure] = 0.4
    remarks += confidence_findings({}, _cut_share(fine, given), ct, labels)
    return _assembled(labels, skin, fine, body, confidences, remarks, "given labels")


def _cut_share(ct: Volume, given: LabelMap) -> dict[str, float]:
    """The sacrum counts as cut where its label reaches the last scanned slice."""
    k = np.flatnonzero((given.array == VALUE["sacrum"]).any(axis=(0, 1)))
    low = given.grid.patient_from_voxel.points((0, 0, int(k[0])))[2]
    touching = low - ct.grid.bounds_mm[0][2] < 2 * max(given.grid.spacing_mm)
    return {"sacrum": 0.95 if touching else 1.0}


def _overlaid(found: BoneSegmentation, given: LabelMap, remarks: tuple[Finding, ...]) -> BoneSegmentation:
    """Found bones where nothing was given; a given structure replaces the found one entirely."""
    on_grid = refined_labels(given, found.labels.grid).array
    array = np.array(found.labels.array)
    clefts = [VALUE[n] for n in ("si_joint_left", "si_joint_right", "disc_l5_s1")]
    present = np.setdiff1d(np.unique(on_grid), 0)
    array[np.isin(array, np.concatenate([clefts, present]))] = 0
    array = np.where(on_grid > 0, on_grid, array).astype(np.uint8)
    labels = LabelMap(with_clefts(array, found.labels.grid.spacing_mm[0]), found.labels.grid, STRUCTURES)
    confidences = {**found.confidences, **{STRUCTURES[int(v)]: 0.95 for v in present}}
    names = ", ".join(STRUCTURES[int(v)] for v in present)
    note = Finding(Severity.INFO, "SAC-A112", f"Given: {names}; every other bone was found in the CT")
    return replace(
        found, labels=labels, confidences=confidences, findings=(*remarks, note, *found.findings),
        source="given labels, completed",
    )  # fmt: skip
