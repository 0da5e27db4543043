"""The continuous search around a finalist: entry along the skin and tip in the lesion, steps halved as it settles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sacroplasty.approach.choice import Pool, pool_of, side_of
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.scene import Scene
from sacroplasty.approach.search import field_of, search
from sacroplasty.approach.skin import skin_normals, whole_skin
from sacroplasty.approach.target import LesionSamples, tips_allowed, ventral_room
from sacroplasty.plan import Needle
from sacroplasty.space import Points

# Steps of the tip, mm; the entry moves twice as far, because it is the longer lever. Moves tried at each step. The
# steps avoid the half voxels of usual grids, where rounding would treat left and right differently.
_STEPS_MM, _MOVES = (2.87, 1.43, 0.71), 4
_ENTRY_SHARE = 2.0
# The skin is looked for this far out of and into the body along the path, in steps, mm.
_SKIN_REACH_MM, _SKIN_STEP_MM = 25.0, 0.49
_TIP_OFFSETS = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], dtype=float)
_ENTRY_OFFSETS = np.array([(0, 0), *((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b)], dtype=float)


def refined(
    scene: Scene,
    rule: ApproachRule,
    needle: Needle,
    samples: LesionSamples,
    pool: Pool,
    index: int,
    reach_mm: tuple[float, float] = (np.inf, np.inf),
) -> tuple[Points, Points]:
    """Entry and tip (3,) of the best candidate that small moves from one of the pool lead to; itself where none do.

    reach_mm: how far entry and tip may move in all, so that alternatives do not all become the best one.
    """
    entry, tip = pool.entries_mm[index], pool.tips_mm[index]
    cost = float(pool.cost[index])
    field = field_of(scene, rule)
    side = side_of(scene, rule, entry)
    least = float(ventral_room(scene, tip[None])[0]) - needle.radius_mm
    for step in _STEPS_MM:
        for _ in range(_MOVES):
            moved = tip + step * _TIP_OFFSETS @ scene.anatomy.frame.axes
            tips = np.concatenate([tip[None], moved[tips_allowed(scene, rule, moved, needle.radius_mm, least)]])
            tips = tips[np.linalg.norm(tips - pool.tips_mm[index], axis=1) <= reach_mm[1]]
            entries = on_skin(scene, entry + _ENTRY_SHARE * step * _ENTRY_OFFSETS @ _across(scene, tip - entry), tip)
            entries = entries[np.linalg.norm(entries - pool.entries_mm[index], axis=1) <= reach_mm[0]]
            skin = entries, skin_normals(scene.anatomy.body, entries, scene.anatomy.frame)
            fine = pool_of(scene, rule, samples, [search(scene, rule, needle, field, skin, tips, side)])
            if not len(fine) or fine.cost[0] > cost - 1e-6:
                break
            entry, tip, cost = fine.entries_mm[0], fine.tips_mm[0], float(fine.cost[0])
    return entry, tip


def _across(scene: Scene, direction: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Two unit vectors (2, 3) across a direction; a mirrored patient gets mirrored ones."""
    first = np.cross(direction, np.asarray(scene.anatomy.frame.left))
    if np.linalg.norm(first) < 1e-3 * np.linalg.norm(direction):
        first = np.asarray(scene.anatomy.frame.cranial)
    first = first / np.linalg.norm(first)
    second = np.cross(direction, first)
    return np.stack([first, second / np.linalg.norm(second)])


def on_skin(scene: Scene, points_mm: Points, tip_mm: npt.NDArray[np.float64]) -> Points:
    """The points (n, 3) moved along their lines to the tip onto the skin, LPS mm; those without skin near are left out.

    The skin is the outermost body voxel on the line, where the scan goes on beyond it.
    """
    outward = points_mm - tip_mm
    outward = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    steps = np.arange(_SKIN_REACH_MM, -_SKIN_REACH_MM - 1e-9, -_SKIN_STEP_MM)
    line = points_mm[:, None] + steps[:, None] * outward[:, None]
    inside = scene.anatomy.body.contains(line)
    first = inside.argmax(axis=1)
    found = inside.any(axis=1) & (first > 0)
    points = np.asarray(line[found, first[found]])
    return points[whole_skin(scene.anatomy, points)]
