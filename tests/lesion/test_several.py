"""Several lesions in one case: which is treated, and that none is counted twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sacroplasty.case import Case
from sacroplasty.errors import InputError
from sacroplasty.io import write_nifti
from sacroplasty.lesion import lesion_from_sphere, treated_first
from sacroplasty.plan import Level
from sacroplasty.report.plan_report import plan_document
from sacroplasty.workflow import LesionParameters, silent, stage
from tests.lesion.toy import ball

S1, S3 = "0,12,-12,6", "30,18,-50,6"


def _made(loaf, **given):
    ct, anatomy = loaf
    return stage("lesion").run(Case("toy", ct, anatomy=anatomy), LesionParameters(**given), silent)


def test_masks_spheres_and_clicks_may_be_mixed_and_the_treated_one_comes_first(loaf, tmp_path: Path):
    anatomy = loaf[1]
    mask = tmp_path / "alar.nii.gz"
    write_nifti(ball(anatomy, (-34.0, 18.0, -30.0), 5.0), mask)
    found = _made(loaf, mask=(mask,), sphere=(S1, S3), treat=3)
    assert len(found) == 3
    assert np.linalg.norm(np.subtract(found[0].centre_mm, (30.0, 18.0, -50.0))) < 1.5
    assert [max(one.levels, key=one.levels.get) for one in found] == [Level.S3, Level.S2, Level.S1]
    assert [round(one.centre_mm[0]) for one in found[1:]] == [-34, 0]
    assert all(one.volume_ml > 0.3 for one in found)


def test_the_report_lists_the_lesions_that_are_not_treated(loaf):
    ct, anatomy = loaf
    document = plan_document(Case("toy", ct, anatomy=anatomy, lesions=_made(loaf, sphere=(S1, S3))), ())
    (lesion,) = [section for section in document.sections if section.title == "Lesion"]
    table = lesion.blocks[-1]
    assert "not treated" in table.caption
    assert len(table.rows) == 1
    assert "S3" in table.rows[0][4]


def test_two_lesions_that_share_bone_are_refused(loaf):
    with pytest.raises(InputError, match=r"lesions 1 and 2 share 0\.\d+ mL"):
        _made(loaf, sphere=(S1, "3,12,-12,6"))


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_lesion_that_is_not_there_cannot_be_treated(loaf, number: int):
    lesions = [lesion_from_sphere(*loaf, (0.0, 12.0, -12.0), 6.0), lesion_from_sphere(*loaf, (30.0, 18.0, -50.0), 6.0)]
    with pytest.raises(InputError, match="no such lesion"):
        treated_first(lesions, number)
