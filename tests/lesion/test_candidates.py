"""The search proposes what differs, and nothing in even marrow."""

from __future__ import annotations

import numpy as np

from sacroplasty.lesion import find_lesions
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
