"""What no view shows is said, and the warning about poor landmarks always."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sacroplasty.fluoroscopy import CArm, Radiograph, Seen, View, Visibility, landmark_findings
from sacroplasty.plan import Severity


def shot(name: str, **seen: Seen) -> Radiograph:
    carm = replace(CArm.profile("mobile"), rows=8, columns=8)
    view = View(carm, 180, 0, (0.0, 0.0, 0.0), name=name)
    strength = {Seen.SEEN: 2.0, Seen.FAINT: 0.7, Seen.NOT_SEEN: 0.1}
    judged = tuple(Visibility(structure, strength[grade], grade) for structure, grade in seen.items())
    return Radiograph(np.ones((8, 8), np.float32), view, visibility=judged)


def test_the_best_view_of_each_structure_counts() -> None:
    shots = (
        shot("AP", ventral_cortex=Seen.NOT_SEEN, canal=Seen.FAINT, S1_foramen=Seen.SEEN),
        shot("lateral", ventral_cortex=Seen.FAINT, canal=Seen.NOT_SEEN, S1_foramen=Seen.NOT_SEEN, coccyx=Seen.NOT_SEEN),
    )
    always, unseen, faint = landmark_findings(shots)
    assert always.severity is Severity.CAUTION
    assert "ventral cortex is hard to see" in always.message
    assert unseen.message.endswith(": coccyx")
    assert faint.message.endswith(": canal (AP), ventral cortex (lateral)")


def test_the_warning_stands_without_judged_views() -> None:
    (always,) = landmark_findings((shot("AP"),))
    assert always.code == "few-landmarks"
