"""Denis zones: ala, foramina and centre of the sacrum, by lines along the foramina's rims."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy.structures import Anatomy, Face
from sacroplasty.errors import AnatomyError
from sacroplasty.plan import DenisZone, Side


def zone_at(anatomy: Anatomy, points_mm: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Denis zone of positions (..., 3) in LPS mm as its number: 1 ala, 2 foramina, 3 central.

    Zone II lies between the medial and the lateral rims of the anterior foramina of a side, joined by straight lines in
    arc length and distance from the midline. AnatomyError where no anterior foramen is known.
    """
    coordinates = anatomy.frame.coordinates(points_mm)
    arc, lateral = coordinates[..., 0], coordinates[..., 1]
    zones = np.full(arc.shape, DenisZone.CENTRAL.value, dtype=np.uint8)
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        arcs, medial, outer = _rims(anatomy, side)
        away = lateral * sign
        zones[away > np.interp(arc, arcs, medial)] = DenisZone.FORAMINA.value
        zones[away > np.interp(arc, arcs, outer)] = DenisZone.ALA.value
    return zones


def _rims(anatomy: Anatomy, side: Side) -> tuple[npt.NDArray[np.float64], ...]:
    """Arc length, medial and lateral distance from the midline of a side's anterior foramina, cranial first."""
    rims = []
    for foramen in anatomy.foramina:
        if foramen.face is Face.ANTERIOR and foramen.side is side and foramen.state.known:
            arc, lateral, _ = anatomy.frame.coordinates(np.asarray(foramen.centre_mm))
            rims.append((arc, abs(lateral) - foramen.width_mm / 2, abs(lateral) + foramen.width_mm / 2))
    if not rims:
        raise AnatomyError(
            f"The Denis zones of the {side} side are not known: no anterior foramen is",
            remedy="Use a scan that shows S1, or give the foramina as landmarks",
        )
    columns = np.array(sorted(rims)).T
    return columns[0], columns[1], columns[2]
