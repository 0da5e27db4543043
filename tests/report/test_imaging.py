"""Slices: the convention, the letters, and that what is drawn is where it is in the patient."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from sacroplasty.errors import InputError
from sacroplasty.plan import Trajectory
from sacroplasty.report.imaging import (
    Line,
    Marks,
    Outline,
    SliceStyle,
    Text,
    along_trajectory,
    axial,
    coronal,
    direction_letters,
    draw_slice,
    mid_sagittal,
    sacral_coronal,
    sagittal,
    sagittal_along,
    slice_picture,
    window_of,
)
from sacroplasty.space import Grid, Mask, Volume
from tests.lesion.toy import toy


@pytest.mark.parametrize(
    ("plane", "right", "down"),
    [(axial, "L", "P"), (sagittal, "P", "F"), (coronal, "L", "F")],
)
def test_radiological_convention(plane, right, down):
    made = plane((1.0, 2.0, 3.0))
    assert (direction_letters(made.right), direction_letters(made.down)) == (right, down)


def test_letters_of_oblique_directions():
    assert direction_letters((0, -0.8, 0.6)) == "AH"
    assert direction_letters((-1, 0.1, 0)) == "R"
    assert direction_letters((0.0, 0.3, -0.95)) == "F"


def test_planes_of_the_sacrum_and_of_a_path():
    _, anatomy = toy(2.0)
    middle = mid_sagittal(anatomy, (20.0, 10.0, -30.0))
    assert middle.centre_mm == pytest.approx((0, 10, -30))
    assert (direction_letters(middle.right), direction_letters(middle.down)) == ("P", "F")
    oblique = sacral_coronal(anatomy, (20.0, 10.0, -30.0))
    assert (direction_letters(oblique.right), direction_letters(oblique.down)) == ("L", "F")
    rng = np.random.default_rng(0)
    for _ in range(20):
        path = Trajectory(tuple(rng.uniform(-60, 60, 3)), tuple(rng.uniform(-20, 20, 3)))
        plane = along_trajectory(path)
        assert np.abs(plane.place([path.entry_mm, path.target_mm])[:, 2]).max() < 1e-6, "the plane holds the path"
        assert np.dot(plane.right, plane.down) == pytest.approx(0, abs=1e-9)
        assert plane.right[0] > 0, "the patient's left stays on the right of the picture"
        assert plane.down[1] >= 0, "posterior stays below"
        side = sagittal_along(path)
        assert np.abs(side.place([path.entry_mm, path.target_mm])[:, 2]).max() < 1e-6, "so does the sagittal one"
        assert side.right[1] >= 0, "anterior stays on the left"
        assert side.down[2] < 0, "the feet stay below"


def pixels(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png))[..., :3]


def place_of(picture: np.ndarray, colour: tuple[float, float, float]) -> tuple[float, float]:
    """Mean column and row of a colour."""
    rows, columns = np.nonzero(np.abs(picture - np.array(colour)).max(axis=-1) < 0.15)
    assert len(rows), "the colour is in the picture"
    return float(columns.mean()), float(rows.mean())


def test_what_lies_on_the_patients_left_is_drawn_on_the_right():
    grid = Grid.aligned((-60.0, -60.0, -60.0), (60.0, 60.0, 60.0), 2.0)
    ct = Volume(np.full(grid.shape, -1000.0, np.float32), grid)
    style = SliceStyle(100.0, 100.0)
    left_posterior = (30.0, 20.0, 0.0)
    ball = Mask(((grid.centres_mm() - left_posterior) ** 2).sum(axis=-1) < 100.0, grid)
    picture = pixels(slice_picture(ct, axial((0.0, 0.0, 0.0)), "bone", [Outline(ball, "#ff0000")], style))
    column, row = place_of(picture, (1, 0, 0))
    assert column > 0.65 * picture.shape[1]
    assert row > 0.6 * picture.shape[0]
    feet = pixels(slice_picture(ct, coronal((0.0, 0.0, 0.0)), "bone", [Marks([(0, 0, -40.0)], "#00ff00")], style))
    assert place_of(feet, (0, 1, 0))[1] > 0.75 * feet.shape[0]
    line = Line((-40.0, 0.0, 0.0), (-20.0, 0.0, 0.0), "#0000ff")
    right = pixels(slice_picture(ct, axial((0.0, 0.0, 0.0)), "bone", [line], style))
    assert place_of(right, (0, 0, 1))[0] < 0.35 * right.shape[1]


def test_marks_off_the_plane_are_not_drawn_and_pictures_repeat():
    grid = Grid.aligned((-30.0, -30.0, -30.0), (30.0, 30.0, 30.0), 2.0)
    ct = Volume(np.zeros(grid.shape, np.float32), grid)
    plain = slice_picture(ct, axial((0.0, 0.0, 0.0)))
    assert slice_picture(ct, axial((0.0, 0.0, 0.0)), overlays=[Marks([(0, 0, 20.0)], "#00ff00")]) == plain
    assert slice_picture(ct, axial((0.0, 0.0, 0.0))) == plain


def test_windows():
    grid = Grid.aligned((0.0, 0.0, 0.0), (10.0, 10.0, 10.0), 1.0)
    ct = Volume(np.arange(1331, dtype=np.float32).reshape(grid.shape), grid)
    assert window_of(ct, (40.0, 400.0)) == (-160.0, 240.0)
    low, high = window_of(ct, "MR")
    assert 0 <= low < high <= 1330
    with pytest.raises(InputError, match="no such window"):
        window_of(ct, "lung")
    with pytest.raises(InputError, match="width"):
        window_of(ct, (40.0, 0.0))


def test_words_stand_clear_of_each_other_and_a_caliper_has_its_word_in_its_middle():
    ct, _ = toy(2.0)
    plane = axial((0.0, 10.0, -30.0))
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1))
    words = [Text((0.0, 10.0 + n, -30.0), f"word {n}") for n in range(3)]
    line = Line((-60.0, 30.0, -30.0), (300.0, 30.0, -30.0), "red", "b 360 mm", caliper=True)
    draw_slice(axes, ct, plane, "bone", [*words, line], SliceStyle(120.0, 120.0))
    place = {word.get_text(): word.get_position() for word in axes.texts}
    rows = sorted(place[word.text][1] for word in words)
    assert min(np.diff(rows)) > 3, "no two words on one line"
    assert place["b 360 mm"][0] == pytest.approx(0, abs=4), "the middle of what is seen, not of the line"
