"""An MRI beside the CT: laid where it belongs, carried lesions land in the CT, an MRI of something else is refused."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.anatomy import segment, with_mr
from sacroplasty.errors import AnatomyError
from sacroplasty.io import read_ct, read_series
from sacroplasty.lesion import lesion_from_mask, lesion_from_sphere
from sacroplasty.plan import as_point
from sacroplasty.report.review_sheet import review_sheet
from sacroplasty.space import Mask, Volume
from tests.data import real

pytest.importorskip("SimpleITK")


@pytest.mark.real
@pytest.mark.slow
def test_a_lesion_drawn_on_mri_lands_in_the_ct_and_both_are_shown() -> None:
    ct = read_ct(real("taichi/ct_sacrum_0.7mm.nii.gz"))
    mr = read_series(real("taichi/mr_t2_sag.nii.gz"), modality="MR").volume
    anatomy = with_mr(segment(ct), ct, mr)
    assert anatomy.mr is not None
    assert any("MRI was laid on the CT" in finding.message for finding in anatomy.findings)
    # S1's body in the CT, drawn as a ball on the MRI's own grid.
    centre = np.array([-14.0, 55.0, -1242.0])
    at = anatomy.mr.ct_from_mr.inverse.points(centre)
    drawn = Mask(np.linalg.norm(mr.grid.centres_mm() - at, axis=-1) < 8.0, mr.grid)
    lesion = lesion_from_mask(ct, anatomy, anatomy.mr.carried(drawn, anatomy.labels.grid))
    assert np.linalg.norm(np.subtract(lesion.centre_mm, centre)) < 3.0
    assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * 8**3 / 1000, rel=0.3)
    sphere = lesion_from_sphere(ct, anatomy, as_point(centre), 8.0)
    assert len(review_sheet(ct, anatomy, sphere, mr=anatomy.maps["mr"])) > 100_000
    # The same MRI upside down belongs to nobody.
    with pytest.raises(AnatomyError, match="could not be laid"):
        with_mr(anatomy, ct, Volume(np.ascontiguousarray(mr.array[:, :, ::-1]), mr.grid, mr.unit))
