"""A small synthetic patient scanned twice: a block of bone with canal, tunnel and joint; drawn cement; all is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from sacroplasty.anatomy import STRUCTURES, Anatomy, Face, Foramen, RootCourse, SacralFrame, SacralLevel
from sacroplasty.lesion import Lesion, LesionKind
from sacroplasty.plan import Approach, Level, Needle, NeedlePlan, Plan, Side, Trajectory
from sacroplasty.space import Frame, Grid, LabelMap, Mask, Points, Transform, Volume

HU = 2200.0
CENTRE = (0.0, 13.0, 0.0)
VALUE = {name: value for value, name in STRUCTURES.items()}


@dataclass(frozen=True, eq=False)
class Patient:
    """The plan's CT with truth, lesion and plan."""

    ct: Volume
    anatomy: Anatomy
    lesion: Lesion
    plan: Plan


def parts(points: Points) -> dict[str, np.ndarray]:
    """Which structure each point (..., 3) lies in, by formula."""
    x, y, z = np.moveaxis(points, -1, 0)
    # Shoulders and a slanted top keep the block from looking like its mirror image.
    bone = (np.abs(x) < 20 + 4 * (z > 6) * (x > 0)) & (y > 2) & (y < 38 + 0.2 * x) & (np.abs(z + 0.15 * x) < 18)
    canal = (np.abs(x) < 6) & (y > 25) & (y < 34) & bone
    tunnel = (np.hypot(x - 13, z - 2) < 4) & bone & ~canal
    joint = (x < -20) & (x > -23) & (y > 2) & (y < 34) & (np.abs(z) < 18)
    hip = (x <= -23) & (x > -30) & (y > 2) & (y < 34) & (np.abs(z) < 18)
    return {"sacrum": bone & ~canal & ~tunnel, "canal": canal, "root_tunnel": tunnel, "si_joint_right": joint,
            "hip_right": hip}  # fmt: skip


def tissue_hu(points: Points) -> np.ndarray:
    """CT values by formula: cortex of 2 mm, cancellous bone, soft tissue."""
    here = parts(points)
    hu = np.full(points.shape[:-1], 40.0)
    for name, marrow in (("hip_right", 250.0), ("sacrum", 180.0)):
        hu[here[name]] = marrow
    solid = here["sacrum"]
    inner = solid.copy()
    for axis in range(3):
        for step in (-2.0, 2.0):
            shift = np.zeros(3)
            shift[axis] = step
            inner &= parts(points + shift)["sacrum"]
    hu[solid & ~inner] = 950.0
    hu[here["canal"] | here["root_tunnel"]] = 15.0
    hu[np.linalg.norm(points - CENTRE, axis=-1) < 7] = 45.0
    return hu


def patient() -> Patient:
    """The plan's side: 1 mm voxels, some noise."""
    grid = Grid.aligned((-45, -20, -32), (40, 60, 32), 1.0)
    points = grid.centres_mm()
    labels = np.zeros(grid.shape, np.uint8)
    for name, where in parts(points).items():
        labels[where] = VALUE[name]
    noise = np.random.default_rng(1).normal(0, 12, grid.shape)
    frame = SacralFrame(
        (0.0, 2.0, 20.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0),
        np.array([[0.0, 2.0, 20.0], [0.0, 2.0, 0.0], [0.0, 2.0, -20.0]]), 30.0,
    )  # fmt: skip
    foramen = Foramen(Level.S1, Side.LEFT, Face.ANTERIOR, (13.0, 2.0, 2.0), (0.0, -1.0, 0.0), 8.0, 8.0)
    root = RootCourse(Level.S1, Side.LEFT, np.array([[13.0, 30.0, 2.0], [13.0, 0.0, 2.0]]), 2.5)
    level = SacralLevel(Level.S1, 0.0, 40.0, CENTRE)
    anatomy = Anatomy(
        LabelMap(labels, grid, STRUCTURES), Mask(np.ones(grid.shape, np.bool_), grid), frame, (level,),
        foramina=(foramen,), roots=(root,),
    )  # fmt: skip
    ball = np.linalg.norm(points - CENTRE, axis=-1) < 7
    lesion = Lesion(Mask(ball, grid), CENTRE, float(ball.sum()) / 1000, LesionKind.LYTIC)
    needle = NeedlePlan(Needle.gauge(13), Trajectory((-44.0, 50.0, 0.0), CENTRE))
    plan = Plan(Approach.TRANS_SACROILIAC, Side.RIGHT, Level.S1, (needle,))
    return Patient(Volume((tissue_hu(points) + noise).astype(np.float32), grid), anatomy, lesion, plan)


@dataclass(frozen=True)
class Ball:
    """Cement: a ball or, with `end_mm`, a rod; `hu` other than cement's makes it metal."""

    centre_mm: tuple[float, float, float]
    radius_mm: float
    end_mm: tuple[float, float, float] | None = None
    hu: float = HU

    def holds(self, points: Points) -> np.ndarray:
        """Whether points lie inside."""
        start = np.asarray(self.centre_mm)
        if self.end_mm is None:
            return np.linalg.norm(points - start, axis=-1) < self.radius_mm
        axis = np.asarray(self.end_mm) - start
        share = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
        return np.linalg.norm(points - start - share[..., None] * axis, axis=-1) < self.radius_mm


def moved(
    turn_deg: tuple[float, float, float] = (6.0, -4.0, 5.0), shift_mm: tuple[float, float, float] = (30.0, -22.0, 140.0)
) -> Transform:
    """The later CT's world from the plan's."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    pose[:3, 3] = shift_mm
    return Transform(Frame.PATIENT, Frame.PATIENT, pose)


def with_ball(hu: np.ndarray, grid: Grid, move: Transform, ball: Ball) -> np.ndarray:
    """CT values with one body put in: between the trabeculae, by the share of each voxel that it fills."""
    ends = np.array([ball.centre_mm, ball.end_mm or ball.centre_mm])
    box = grid.box_around(move.points(ends), ball.radius_mm + 3.0)
    part = grid.cropped(box)
    cut = tuple(int(np.ceil(s / 0.35)) for s in part.spacing_mm)
    inside = ball.holds(move.inverse.points(part.refined(cut).centres_mm())).astype(np.float32)
    share = np.asarray(Volume(inside, part.refined(cut), "1").binned(cut).array)
    before = hu[box]
    pores = 1.0 - np.clip((before - 30.0) / (1800.0 - 30.0), 0.0, 1.0)
    result = np.array(hu)
    result[box] = before + share * pores * (ball.hu - np.minimum(before, 30.0))
    return result


def later_ct(
    balls: tuple[Ball, ...] = (), *, spacing_mm: tuple[float, float, float] = (0.8, 0.8, 1.0),
    move: Transform | None = None,
    seed: int = 2, noise_hu: float = 20.0,
) -> Volume:  # fmt: skip
    """The patient later: another position and voxel size, cement put in before blur and noise."""
    move = moved() if move is None else move
    corners = np.array([[x, y, z] for x in (-45.0, 40.0) for y in (-20.0, 60.0) for z in (-32.0, 32.0)])
    low, high = move.points(corners).min(axis=0), move.points(corners).max(axis=0)
    counts = np.ceil((high - low) / spacing_mm).astype(int) + 1
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = low
    grid = Grid.from_affine(tuple(int(n) for n in counts), affine)
    thick = (1, 1, max(1, round(spacing_mm[2])))
    points = move.inverse.points(grid.refined(thick).centres_mm())
    seen = np.array(Volume(tissue_hu(points).astype(np.float32), grid.refined(thick)).binned(thick).array)
    for ball in balls:
        seen = with_ball(seen, grid, move, ball)
    seen = ndimage.gaussian_filter(seen, (0.6 / spacing_mm[0], 0.6 / spacing_mm[1], 0.3 / spacing_mm[2]))
    seen += np.random.default_rng(seed).normal(0.0, noise_hu, seen.shape)
    return Volume(np.clip(seen, -1024.0, 3071.0).astype(np.float32), grid)
