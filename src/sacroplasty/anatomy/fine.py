"""The inside of the sacrum, from a CT and the labels of its bones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sacroplasty.anatomy import dysmorphism, norms
from sacroplasty.anatomy.canal import CanalPath, canal_lumen, find_path, opened_bone, straightened
from sacroplasty.anatomy.corridors import pedicle_corridors
from sacroplasty.anatomy.cortex import cortex_thickness, surface_medians, trabecular_density
from sacroplasty.anatomy.foramina import LumenSystem, find_openings, lumen_system, sacral_foramina
from sacroplasty.anatomy.hiatus import find_hiatus, thecal_sac
from sacroplasty.anatomy.landmarks import find_landmarks
from sacroplasty.anatomy.levels import assign_levels
from sacroplasty.anatomy.root_courses import root_courses, tunnel_between
from sacroplasty.anatomy.roots import LumenWays
from sacroplasty.anatomy.sacrum_field import SacrumField, sacrum_field
from sacroplasty.anatomy.signed_distance import BoolArray, refined_labels
from sacroplasty.anatomy.statements import Statements, sacral_levels, state_foramina
from sacroplasty.anatomy.structures import STRUCTURES, Anatomy, Canal, Foramen, SacralLevel
from sacroplasty.evidence import value
from sacroplasty.plan import State
from sacroplasty.space import Grid, LabelMap, Mask, Volume

Progress = Callable[[float, str], None]

# Labels coarser than this are refined along smooth surfaces, or lumens would vanish between voxels.
COARSEST_MM = 1.25
REFINED_MM = 1.0
# The end of the data is this far from the end of the bone at most, where the scan cuts the sacrum.
CUT_MM = 4.0


def fine_anatomy(ct: Volume, labels: LabelMap, body: Mask, *, source: str, progress: Progress | None = None) -> Anatomy:
    """Everything inside the sacrum: frame, levels, canal, foramina, roots, hiatus, bone quality, landmarks, findings.

    `labels` name bones as STRUCTURES does; the sacrum is needed, the others sharpen landmarks. Labels coarser than
    1.25 mm, anisotropic or oblique are refined to 1 mm along the patient's axes first. `source` says how the bones
    were found. AnatomyError where there is no sacrum, no ventral curve or no canal.
    """
    labels.grid.require_same(body.grid, "The labels and the body mask")
    tell = progress or (lambda fraction, message: None)
    tell(0.0, "Finding the sacral frame")
    field = sacrum_field(ct, labels.mask("sacrum").require_any("sacrum"))
    slice_mm = max(max(ct.grid.spacing_mm), max(labels.grid.spacing_mm))
    tell(0.3, "Following the canal")
    path = find_path(field, straightened(field))
    system = lumen_system(field, opened_bone(field, path), path)
    tell(0.6, "Finding the foramina")
    openings = find_openings(field, system)
    ways = LumenWays(field, system)
    assignment = assign_levels(sacral_foramina(openings, float(path.arc_mm[path.last_closed])), ways)
    end_arc, cut = data_end(field)
    statements = state_foramina(field, assignment, ways, slice_mm, end_arc)
    levels = sacral_levels(field, statements, end_arc, cut)
    hiatus = find_hiatus(field, path, openings, levels, slice_mm, cut)
    tell(0.8, "Describing bone and roots")
    anatomy_labels, anatomy_body = _on_one_grid(labels, body)
    canal, tunnels = _lumens(field, path, system, statements)
    bone = field.bone & ~canal & ~tunnels
    thickness = cortex_thickness(field, bone)
    measures = norms.sacral_measures(field.frame, levels, statements.foramina, hiatus)
    measures["ventral_cortex_mm"], measures["dorsal_cortex_mm"] = surface_medians(thickness, field.ventral)
    final = _with_lumens(anatomy_labels, field.grid, canal, tunnels)
    corridors = pedicle_corridors(final, field.frame, levels, value("anatomy.corridor_sd"))
    measures |= dysmorphism.signs(field, levels, statements.foramina, corridors)
    findings = (
        norms.frame_findings(field.frame)
        + norms.level_findings(assignment, levels)
        + norms.foramen_findings(statements.foramina)
        + norms.hiatus_findings(hiatus)
        + norms.beside_norms(measures)
        + dysmorphism.findings(measures)
    )
    tell(1.0, "Anatomy complete")
    return Anatomy(
        labels=final,
        body=anatomy_body,
        frame=field.frame,
        levels=levels,
        foramina=statements.foramina,
        roots=root_courses(field, path, statements, ways),
        canal=Canal(path.points_mm[: path.last_closed + 1], State.MEASURED, value("anatomy.canal_line_sd")),
        hiatus=hiatus,
        thecal_sac=thecal_sac(field, path, levels),
        landmarks=find_landmarks(anatomy_labels, field.frame, hiatus, slice_mm),
        measures=measures,
        confidences=_confidences(field, path, statements.foramina, levels),
        maps={"cortex_thickness_mm": thickness, "density_mg_cm3": trabecular_density(field, bone)},
        findings=tuple(findings),
        source=source,
        corridors=corridors,
    )


def data_end(field: SacrumField) -> tuple[float, bool]:
    """Arc length to which there are data in the midline, and whether the scan cuts the sacrum there."""
    beyond = field.frame.points([field.length_mm + CUT_MM, 0.0, 0.0])
    cut = not field.sampled(field.seen.astype(np.float32), beyond[None], 0.0)[0] > 0.5
    return (field.length_mm if cut else field.length_mm + CUT_MM), cut


def _on_one_grid(labels: LabelMap, body: Mask) -> tuple[LabelMap, Mask]:
    """Labels and body on an isotropic grid along the patient's axes, fine enough for tunnels."""
    grid = labels.grid
    spacing = np.asarray(grid.spacing_mm)
    aligned = np.allclose(grid.affine_lps[:3, :3], np.diag(spacing), atol=1e-3 * spacing.min())
    if aligned and np.ptp(spacing) < 1e-3 and spacing.max() <= COARSEST_MM:
        return LabelMap(labels.array, grid, STRUCTURES), body
    low, high = grid.bounds_mm
    fine = Grid.aligned(low, high, REFINED_MM, grid.frame_of_reference_uid)
    return LabelMap(refined_labels(labels, fine).array, fine, STRUCTURES), body.resampled(fine)


def _lumens(
    field: SacrumField, path: CanalPath, system: LumenSystem, statements: Statements
) -> tuple[BoolArray, BoolArray]:
    """Canal and root tunnels as masks on the field's grid; re-opened tunnels are drawn with their own width."""
    arcs = sorted(arc for level, arc in statements.arcs_mm.items() if statements.arc_states[level].known)
    canal = canal_lumen(field, path, system.lumen, system.outside, arcs, float(path.arc_mm[path.last_closed]))
    tunnels = system.lumen & ~canal & (np.abs(field.x_mm) > 4) & field.hull
    for foramen in statements.foramina:
        if foramen.state is State.REOPENED:
            tunnels |= _tube(field, path, foramen) & field.hull & ~canal
    return canal, tunnels


def _tube(field: SacrumField, path: CanalPath, foramen: Foramen) -> BoolArray:
    """Voxels of a re-opened foramen's tunnel: as wide as the foramen outside, half as wide at the canal."""
    inside = np.zeros(field.grid.shape, dtype=bool)
    line = tunnel_between(field, path, foramen)[::2]
    for point, share in zip(line, np.linspace(0.5, 1.0, len(line)), strict=True):
        radius = share * foramen.radius_mm
        box = field.grid.box_around(point, margin_mm=radius)
        places = field.grid.cropped(box).centres_mm()
        inside[box] |= ((places - point) ** 2).sum(axis=-1) <= radius**2
    return inside


def _with_lumens(labels: LabelMap, grid: Grid, canal: BoolArray, tunnels: BoolArray) -> LabelMap:
    """The labels with canal and root tunnels put in where there was sacrum or nothing."""
    array = labels.array.copy()
    box = labels.grid.box_around(grid.corners_mm)
    target = labels.grid.cropped(box)
    free = np.isin(array[box], (0, labels.values["sacrum"]))
    for name, mask in (("root_tunnel", tunnels), ("canal", canal)):
        put = Mask(mask, grid).resampled(target).array & free
        array[box][put] = labels.values[name]
    return LabelMap(array, labels.grid, labels.names)


def _confidences(
    field: SacrumField, path: CanalPath, foramina: tuple[Foramen, ...], levels: tuple[SacralLevel, ...]
) -> dict[str, float]:
    """Confidence 0 to 1 of each structure."""
    ranks = {State.MEASURED: 0.95, State.REOPENED: 0.75, State.INFERRED: 0.35}
    along = path.score[: path.last_closed + 1]
    found = {
        "sacral_frame": field.frame.confidence,
        "canal": float(np.clip(np.mean(along > 0.1), 0.0, 1.0)),
    }
    found |= {foramen.name: foramen.confidence for foramen in foramina}
    found |= {str(level.level): ranks.get(level.state, 0.0) for level in levels}
    return found
