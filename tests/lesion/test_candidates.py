"""The search proposes what differs, and nothing in even marrow."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.case import Case
from sacroplasty.errors import InputError
from sacroplasty.lesion import LesionKind, PatientFacts, find_lesions
from sacroplasty.lesion.reference import age_range_hu
from sacroplasty.plan import Level
from sacroplasty.space import Grid, Volume
from sacroplasty.workflow import stage
from sacroplasty.workflow.parameters import LesionParameters
from tests.lesion.toy import ball, with_values


def test_even_marrow_has_no_candidates_and_an_alar_lesion_is_proposed(loaf):
    ct, anatomy = loaf
    assert find_lesions(ct, anatomy) == ()
    mask = ball(anatomy, (34.0, 18.0, -30.0), 8.0)
    truth = mask.array & (anatomy.labels.array == 1)
    found = find_lesions(with_values(ct, truth, 420.0), anatomy)
    assert len(found) == 1
    assert np.linalg.norm(np.subtract(found[0].centre_mm, (34.0, 18.0, -30.0))) < 3.0
    assert "candidate" in {f.code for f in found[0].findings}


def levels_set(ct, anatomy, values):
    """The loaf with the marrow of levels set: level name to HU."""
    array = ct.array.copy()
    z = ct.grid.centres_mm()[..., 2]
    marrow = (anatomy.labels.array == 1) & (ct.array > 60) & (ct.array < 300)
    for level, hu in values.items():
        n = int(level[1]) - 1
        array[marrow & (z <= -20.0 * n) & (z > -20.0 * (n + 1))] = hu
    return Volume(array, ct.grid)


def test_a_level_that_a_lesion_fills_on_both_sides_is_proposed(loaf):
    ct, anatomy = loaf
    found = find_lesions(levels_set(ct, anatomy, {"S2": 40.0}), anatomy)
    assert found
    assert found[0].main_level is Level.S2
    assert found[0].kind is LesionKind.LYTIC
    assert found[0].levels[Level.S2] > 0.8


def test_of_two_unlike_halves_the_one_unlike_the_other_levels_is_proposed(loaf):
    ct, anatomy = loaf
    left = np.asarray(ct.grid.centres_mm()[..., 0] > 0)
    half = np.where(left, levels_set(ct, anatomy, {"S3": 40.0}).array, ct.array)
    found = find_lesions(Volume(half, ct.grid), anatomy)
    assert found
    assert all(each.centre_mm[0] > 0 for each in found)


def test_a_level_outside_the_range_of_the_age_is_proposed(loaf):
    ct, anatomy = loaf
    pale = levels_set(ct, anatomy, {"S1": 110.0, "S2": 110.0, "S3": 110.0, "S4": 110.0, "S5": 110.0})
    assert find_lesions(pale, anatomy) == find_lesions(pale, anatomy, age_years=85) == ()
    found = find_lesions(pale, anatomy, age_years=20)
    assert found
    assert found[0].main_level is Level.S1


def test_marrow_that_is_too_dark_everywhere_is_said_and_is_no_lesion(loaf):
    ct, anatomy = loaf
    dark = levels_set(ct, anatomy, {"S1": 60.0, "S2": 60.0, "S3": 60.0, "S4": 60.0, "S5": 60.0})
    mask = ball(anatomy, (34.0, 18.0, -30.0), 8.0)
    spotted = with_values(dark, mask.array & (anatomy.labels.array == 1), 420.0)
    young, old = (find_lesions(spotted, anatomy, age_years=age) for age in (20, 90))
    assert len(young) == len(old) == 1
    assert "marrow-age" in {f.code for f in young[0].findings}
    assert "marrow-age" not in {f.code for f in old[0].findings}


def test_the_range_of_an_age_narrows_that_of_all_adults():
    low, _, high = age_range_hu(None)
    for age in (0, 29, 30, 60, 90, 120):
        least, mean, greatest = age_range_hu(age)
        assert low <= least < mean < greatest <= high
    assert age_range_hu(60)[1] == pytest.approx(226 - 2.5 * 30)


def test_an_impossible_age_is_refused():
    with pytest.raises(InputError, match="between 0 and 120"):
        age_range_hu(130)


def test_a_case_is_searched_with_its_patients_age(loaf):
    ct, anatomy = loaf
    pale = levels_set(ct, anatomy, {"S1": 110.0, "S2": 110.0, "S3": 110.0, "S4": 110.0, "S5": 110.0})
    young, old = (Case("toy", pale, anatomy=anatomy, facts=PatientFacts(age_years=age)) for age in (20.0, 85.0))
    search = stage("lesion").run
    assert search(young, LesionParameters(), lambda *_: None)[0].main_level is Level.S1
    with pytest.raises(InputError, match="No lesion stands out"):
        search(old, LesionParameters(), lambda *_: None)


def in_thick_slices(ct, thickness_mm):
    """The CT averaged along the patient's axis, as a scanner with so thick slices would show it."""
    count = int(ct.grid.shape[2] * ct.grid.spacing_mm[2] // thickness_mm)
    step = round(thickness_mm / ct.grid.spacing_mm[2])
    affine = ct.grid.affine_lps.copy()
    affine[:, 3] += affine[:, 2] * (step - 1) / 2
    affine[:, 2] *= step
    array = np.asarray(ct.array)[:, :, : count * step].reshape(*ct.grid.shape[:2], count, step).mean(axis=3)
    grid = Grid.from_affine(array.shape, affine, ct.grid.frame_of_reference_uid)
    return Volume(array.astype(np.float32), grid)


def test_a_lesion_under_the_endplate_is_proposed_whole_in_thick_slices(loaf):
    ct, anatomy = loaf
    assert find_lesions(in_thick_slices(ct, 5.0), anatomy) == ()
    mask = ball(anatomy, (30.0, 15.0, -6.0), 6.0)
    spotted = with_values(ct, mask.array & (anatomy.labels.array == 1), 420.0)
    (thin,), (thick,) = find_lesions(spotted, anatomy), find_lesions(in_thick_slices(spotted, 5.0), anatomy)
    assert thick.volume_ml == pytest.approx(thin.volume_ml, rel=0.1)
