"""Slices as a radiologist reads them: radiological convention, side letters from geometry, scale bar, window, overlays.

Everything is drawn on a matplotlib figure made here; no global state, same input, same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import InputError
from sacroplasty.plan import Level, Point, Trajectory, as_point
from sacroplasty.space import Mask, Points, Volume

# Centre and width, HU: how bone and soft tissue are read; purely for display.
WINDOWS = {"bone": (350.0, 1600.0), "soft tissue": (40.0, 400.0)}
# An oblique direction gets a second letter from this component on (sine of about 23 degrees).
SECOND_LETTER = 0.4
# The sacrum's long axis on images is that of its upper bodies.
UPPER_LEVELS = (Level.S1, Level.S2, Level.S3)
# Samples per mm of a slice.
PIXEL_MM = 0.5
SCALE_BAR_MM = 50.0
# Ticks across the ends of a measurement, and about the width of a letter.
CALIPER_MM, LETTER_MM = 4.0, 2.2
DOTS_PER_INCH = 110
NOT_FOR_CLINICAL_USE = "Research software, not for clinical use"


@dataclass(frozen=True)
class Plane:
    """A plane to look at: `right` and `down` are unit vectors (LPS) of the picture's axes."""

    name: str
    centre_mm: Point
    right: Point
    down: Point

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector (3,) away from the viewer."""
        return np.cross(self.right, self.down)

    def place(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Picture coordinates (..., 3) of positions: mm to the right, mm down, mm behind the plane."""
        offset = np.asarray(points_mm, dtype=np.float64) - np.asarray(self.centre_mm)
        return offset @ np.stack([self.right, self.down, self.normal], axis=1)

    def points(self, across_mm: npt.ArrayLike, down_mm: npt.ArrayLike) -> Points:
        """Positions (..., 3), LPS mm, of picture coordinates."""
        across, down = np.asarray(across_mm)[..., None], np.asarray(down_mm)[..., None]
        return np.asarray(self.centre_mm) + across * np.asarray(self.right) + down * np.asarray(self.down)


def axial(centre_mm: npt.ArrayLike) -> Plane:
    """Across the body, seen from the feet: the patient's left on the right of the picture, posterior below."""
    return Plane("axial", as_point(centre_mm), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def sagittal(centre_mm: npt.ArrayLike) -> Plane:
    """Along the body, seen from the patient's left: anterior on the left of the picture, feet below."""
    return Plane("sagittal", as_point(centre_mm), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))


def coronal(centre_mm: npt.ArrayLike) -> Plane:
    """From the front: the patient's left on the right of the picture, feet below."""
    return Plane("coronal", as_point(centre_mm), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0))


def mid_sagittal(anatomy: Anatomy, near_mm: npt.ArrayLike) -> Plane:
    """The sacrum's own symmetry plane, centred across from a position."""
    frame = anatomy.frame
    left = np.asarray(frame.left)
    offset = np.asarray(as_point(near_mm)) - np.asarray(frame.origin_mm)
    centre = np.asarray(near_mm) - left * float(offset @ left)
    down = _unit(np.array([0.0, 0.0, -1.0]) - left * -left[2])
    return Plane("mid-sagittal", as_point(centre), as_point(np.cross(left, down)), as_point(down))


def sacral_coronal(anatomy: Anatomy, centre_mm: npt.ArrayLike) -> Plane:
    """Coronal oblique along the sacrum: across it, and along the line through the bodies of S1 to S3.

    Where fewer than two of these levels are known: along the ventral curve's tangent at the position's height.
    """
    frame = anatomy.frame
    bodies = [level.body_centre_mm for level in anatomy.levels if level.state.known and level.level in UPPER_LEVELS]
    if len(bodies) > 1:
        down = np.subtract(bodies[-1], bodies[0])
        down = _unit(down - float(down @ frame.left) * np.asarray(frame.left))
    else:
        down = frame.tangent_at(float(frame.coordinates(as_point(centre_mm))[0]))
    return Plane("coronal oblique", as_point(centre_mm), as_point(frame.left), as_point(down))


def along_trajectory(trajectory: Trajectory, centre_mm: npt.ArrayLike | None = None) -> Plane:
    """The axial plane tilted just so far that it holds a whole path: radiological, left on the right of the picture."""
    axis = trajectory.direction
    level = np.array([axis[1], -axis[0], 0.0])
    across = _unit(level) if np.linalg.norm(level) > 1e-6 else np.array([1.0, 0.0, 0.0])
    normal = _unit(np.cross(axis, across))
    right = _unit(np.array([1.0, 0.0, 0.0]) - normal * normal[0])
    down = np.cross(normal, right)
    if down[1] < 0:
        down = -down
    middle = trajectory.point_at(trajectory.length_mm / 2) if centre_mm is None else np.asarray(as_point(centre_mm))
    middle = middle - normal * float((middle - np.asarray(trajectory.entry_mm)) @ normal)
    return Plane("oblique axial", as_point(middle), as_point(right), as_point(down))


def sagittal_along(trajectory: Trajectory) -> Plane:
    """The sagittal plane turned just so far that it holds a whole path: anterior on the left of the picture."""
    normal = np.cross(trajectory.direction, (0.0, 0.0, 1.0))
    normal = _unit(normal) if np.linalg.norm(normal) > 1e-6 else np.array([-1.0, 0.0, 0.0])
    normal = -normal if normal[0] > 0 else normal
    right = _unit(np.array([0.0, 1.0, 0.0]) - normal * normal[1])
    middle = trajectory.point_at(trajectory.length_mm / 2)
    return Plane("oblique sagittal", as_point(middle), as_point(right), as_point(np.cross(normal, right)))


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))


def direction_letters(direction: npt.ArrayLike) -> str:
    """The patient's side that a direction (3,) points to: L, R, A, P, H (head), F (feet), two letters when oblique."""
    unit = _unit(np.asarray(direction, dtype=np.float64))
    letters = ["RL"[int(unit[0] > 0)], "AP"[int(unit[1] > 0)], "FH"[int(unit[2] > 0)]]
    order = np.argsort(-np.abs(unit), kind="stable")
    return letters[order[0]] + (letters[order[1]] if abs(unit[order[1]]) >= SECOND_LETTER else "")


@dataclass(frozen=True)
class Outline:
    """A structure's contour in the slice."""

    mask: Mask
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Line:
    """A straight line between two positions, drawn where it lies within `reach_mm` of the plane, else dashed.

    `caliper` puts a tick across each end, as measurements are drawn, and the label in the middle of what is seen.
    """

    start_mm: Point
    end_mm: Point
    colour: str
    label: str = ""
    reach_mm: float = 4.0
    caliper: bool = False


@dataclass(frozen=True, eq=False)
class Marks:
    """Positions (n, 3) shown as dots where they lie within `reach_mm` of the plane; one label beside the first."""

    points_mm: Points
    colour: str
    label: str = ""
    reach_mm: float = 2.0


@dataclass(frozen=True)
class Text:
    """A word at a position."""

    at_mm: Point
    text: str
    colour: str = "white"


Overlay = Outline | Line | Marks | Text


@dataclass(frozen=True)
class SliceStyle:
    """How large a slice is and what is written on it."""

    width_mm: float = 160.0
    height_mm: float = 140.0
    title: str = ""
    notes: tuple[str, ...] = field(default=())


def window_of(volume: Volume, window: str | tuple[float, float]) -> tuple[float, float]:
    """Lower and upper display value: a preset of WINDOWS, (centre, width), or `MR` for the volume's own range."""
    if isinstance(window, str):
        if window == "MR":
            sample = np.asarray(volume.array[::2, ::2, ::2], dtype=np.float64)
            low, high = np.percentile(sample, (1.0, 99.5))
            return float(low), float(max(high, low + 1.0))
        if window not in WINDOWS:
            raise InputError("There is no such window", got=window, remedy=f"Use {', '.join(WINDOWS)}, MR or a pair")
        window = WINDOWS[window]
    centre, width = window
    if width <= 0:
        raise InputError("A window's width must be positive", got=f"{width}")
    return centre - width / 2, centre + width / 2


def draw_slice(
    axes: Any,
    volume: Volume,
    plane: Plane,
    window: str | tuple[float, float] = "bone",
    overlays: Sequence[Overlay] = (),
    style: SliceStyle | None = None,
) -> None:
    """Draws a plane of a volume with overlays, side letters and scale bar on matplotlib axes."""
    style = style or SliceStyle()
    extent = (-style.width_mm / 2, style.width_mm / 2, style.height_mm / 2, -style.height_mm / 2)
    across = np.arange(extent[0], extent[1], PIXEL_MM) + PIXEL_MM / 2
    down = np.arange(extent[3], extent[2], PIXEL_MM) + PIXEL_MM / 2
    points = plane.points(*np.meshgrid(across, down))
    low, high = window_of(volume, window)
    picture = volume.sampled(points, outside=low)
    axes.imshow(picture, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear", aspect="equal")
    for overlay in overlays:
        _draw(axes, plane, overlay, points, across, down)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_axis_off()
    letters_and_scale(axes, plane, style)
    title = style.title or plane.name
    shown = window if isinstance(window, str) else f"centre {window[0]:g}, width {window[1]:g}"
    if shown == "MR":
        shown = f"MR window, {low:.0f} to {high:.0f} (arbitrary units)"
    if shown in WINDOWS:
        shown = f"{shown} window, centre {WINDOWS[shown][0]:g}, width {WINDOWS[shown][1]:g} HU"
    axes.set_title(f"{title}\n{shown}", fontsize=8, color="black", loc="left")
    for row, note in enumerate(style.notes):
        axes.text(0.02, 0.97 - 0.05 * row, note, transform=axes.transAxes, color="#ffd75f", fontsize=6.5, va="top")


def _draw(axes: Any, plane: Plane, overlay: Overlay, points: Points, across: Points, down: Points) -> None:
    if isinstance(overlay, Outline):
        inside = occupancy(overlay.mask, points)
        if inside.max() >= 0.5 > inside.min():
            axes.contour(across, down, inside, levels=[0.5], colors=[overlay.colour], linewidths=1.1)
    elif isinstance(overlay, Line):
        ends = plane.place([overlay.start_mm, overlay.end_mm])
        near = bool((np.abs(ends[:, 2]) <= overlay.reach_mm).all())
        width = 0.9 if overlay.caliper else 1.4
        axes.plot(ends[:, 0], ends[:, 1], color=overlay.colour, lw=width, ls="-" if near else (0, (2, 2)))
        if overlay.caliper:
            _ticks(axes, ends[:, :2], overlay.colour)
        _label(
            axes, _seen_middle(ends[:, :2], across, down) if overlay.caliper else ends[0], overlay.label, overlay.colour
        )
    elif isinstance(overlay, Marks):
        place = plane.place(overlay.points_mm).reshape(-1, 3)
        place = place[np.abs(place[:, 2]) <= overlay.reach_mm]
        if len(place):
            axes.plot(place[:, 0], place[:, 1], ".", color=overlay.colour, ms=3.0)
            _label(axes, place[0], overlay.label, overlay.colour)
    else:
        _label(axes, plane.place(overlay.at_mm), overlay.text, overlay.colour)


def occupancy(mask: Mask, points: Points) -> npt.NDArray[np.float32]:
    """Trilinear occupancy (0..1) of a mask on a raster of points (rows, columns, 3), smooth between voxels."""
    corners = points[np.ix_((0, -1), (0, -1))].reshape(-1, 3)
    box = mask.grid.box_around([corners.min(axis=0), corners.max(axis=0)], 2.0)
    part = mask.cropped(box)
    return Volume(part.array.astype(np.float32), part.grid, "1").sampled(points, outside=0.0)


def _ticks(axes: Any, ends: Points, colour: str) -> None:
    """A short stroke across each end of a line (2, 2)."""
    along = ends[1] - ends[0]
    half = CALIPER_MM / 2 * np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-9)
    for end in ends:
        axes.plot(*np.stack([end - half, end + half], axis=1), color=colour, lw=0.9)


def _seen_middle(ends: Points, across: Points, down: Points) -> Points:
    """The middle (2,) of that part of a line (2, 2) which lies in the picture."""
    way = ends[0] + np.linspace(0, 1, 101)[:, None] * (ends[1] - ends[0])
    seen = (np.abs(way) < (across[-1], down[-1])).all(axis=1)
    return np.asarray(way[seen].mean(axis=0) if seen.any() else way[50])


def _label(axes: Any, at: npt.NDArray[np.float64], text: str, colour: str) -> None:
    """A word beside a place, with a dark rim that keeps it readable on bone, clear of words that are there."""
    if not text:
        return
    x, y = at[0] + 1.5, at[1] - 1.5
    height = 1.6 * LETTER_MM
    # Words so far stand in the picture's mm; whatever is in the way is passed downwards.
    for there in sorted(axes.texts, key=lambda word: float(word.get_position()[1])):
        left, low = there.get_position()
        beside = left + LETTER_MM * len(there.get_text()) < x or x + LETTER_MM * len(text) < left
        if not beside and abs(low - y) < height:
            y = low + height
    rim = [withStroke(linewidth=1.6, foreground="black")]
    axes.text(x, y, text, color=colour, fontsize=7, va="bottom", clip_on=True, path_effects=rim, zorder=4)


def letters_and_scale(axes: Any, plane: Plane, style: SliceStyle, colour: str = "white") -> None:
    """The four side letters and a scale bar."""
    # A rim of the other colour keeps them readable on bright bone as on air.
    rim = [withStroke(linewidth=1.8, foreground="black" if colour == "white" else "white")]
    right, down = np.asarray(plane.right), np.asarray(plane.down)
    places = ((0.015, 0.5, -right), (0.985, 0.5, right), (0.5, 0.975, -down), (0.5, 0.025, down))
    for x, y, direction in places:
        axes.text(
            x, y, direction_letters(direction), transform=axes.transAxes, color=colour, fontsize=9, weight="bold",
            ha="left" if x < 0.1 else "right" if x > 0.9 else "center",
            va="bottom" if y < 0.1 else "top" if y > 0.9 else "center", path_effects=rim, zorder=5,
        )  # fmt: skip
    start, level = -style.width_mm / 2 + 6, style.height_mm / 2 - 6
    axes.plot(
        [start, start + SCALE_BAR_MM], [level, level], color=colour, lw=2, solid_capstyle="butt", path_effects=rim
    )
    axes.text(start, level - 2, f"{SCALE_BAR_MM:g} mm", color=colour, fontsize=7, path_effects=rim)


def slice_picture(
    volume: Volume,
    plane: Plane,
    window: str | tuple[float, float] = "bone",
    overlays: Sequence[Overlay] = (),
    style: SliceStyle | None = None,
) -> bytes:
    """A PNG of one plane of a volume with overlays."""
    style = style or SliceStyle()
    figure = Figure(figsize=(4.0, 4.0 * style.height_mm / style.width_mm + 0.45), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    draw_slice(figure.add_axes((0.01, 0.01, 0.98, 0.87)), volume, plane, window, overlays, style)
    return png(figure)


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes, without a date or version in them."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
