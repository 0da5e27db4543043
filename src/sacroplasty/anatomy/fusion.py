"""An MRI beside the CT: registered, resampled around the sacrum, kept with the anatomy for drawing and reading."""

from __future__ import annotations

from sacroplasty.anatomy.magnetic_resonance import register_mr
from sacroplasty.anatomy.structures import Anatomy
from sacroplasty.space import Grid, Volume

# What is kept: the sacrum and this much around it, in voxels of this size.
AROUND_MM, SPACING_MM = 45.0, 1.0


def with_mr(anatomy: Anatomy, ct: Volume, mr: Volume) -> Anatomy:
    """The anatomy with an MRI (arbitrary units) registered to its CT: `maps["mr"]` lies in the CT's patient frame.

    `anatomy.mr` holds the registration, with which a mask drawn on the MRI is carried over. Raises AnatomyError where
    the registration is not sure, InputError where the `register` extra is absent.
    """
    sacrum = anatomy.labels.mask("sacrum")
    found = register_mr(ct, mr, sacrum)
    low, high = sacrum.grid.cropped(sacrum.grid.box_around(sacrum.points_mm(), margin_mm=AROUND_MM)).bounds_mm
    grid = Grid.aligned(low, high, SPACING_MM, ct.grid.frame_of_reference_uid)
    seen = mr.sampled(found.ct_from_mr.inverse.points(grid.centres_mm()), outside=0.0)
    return anatomy.with_(
        mr=found,
        maps={**anatomy.maps, "mr": Volume(seen, grid, mr.unit)},
        findings=(*anatomy.findings, found.finding),
    )
