"""What can be seen to be wrong before minutes are spent: checked for every stage of a run at its start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sacroplasty.workflow.parameters import CementParameters, LesionParameters, PlanParameters, numbers

if TYPE_CHECKING:
    from sacroplasty.space import Volume


def require_usable(ct: Volume, parameters: Mapping[str, Any]) -> None:
    """InputError for a parameter of any stage, by the stage's name, that this CT or this program cannot serve."""
    for given in parameters.values():
        match given:
            case LesionParameters():
                _lesion(ct, given)
            case PlanParameters():
                _plan(given)
            case CementParameters():
                _cement(given)


def _lesion(ct: Volume, given: LesionParameters) -> None:
    from sacroplasty.errors import InputError
    from sacroplasty.io import read_mask, require_mask_on_grid

    for path in given.mask:
        require_mask_on_grid(read_mask(path), ct.grid, ct=ct)
    spheres = [("sphere", numbers(text, 4, "--lesion-sphere X,Y,Z,R")[:3]) for text in given.sphere]
    clicks = [("click", numbers(text, 3, "--lesion-click X,Y,Z")) for text in given.click]
    low, high = ct.grid.bounds_mm
    for what, point in (*spheres, *clicks):
        if not bool(ct.grid.contains(point)):
            raise InputError(
                f"The lesion's {what} lies outside the scan",
                got=f"{point} mm",
                remedy=f"The scan reaches from {low.round(0).tolist()} to {high.round(0).tolist()} mm in patient LPS",
            )


def _plan(given: PlanParameters) -> None:
    from sacroplasty.approach.uncertainty import placement_error
    from sacroplasty.plan import Needle

    approaches_of(given)
    Needle.gauge(given.gauge)
    placement_error(given.guidance)


def approaches_of(given: PlanParameters) -> tuple[Any, ...] | None:
    """The approaches asked for, None for all; InputError for a name that is none."""
    from sacroplasty.errors import InputError
    from sacroplasty.plan import Approach

    try:
        return tuple(Approach(name) for name in given.approach) or None
    except ValueError:
        known = ", ".join(Approach)
        raise InputError(
            "The approach is unknown", got=", ".join(given.approach), remedy=f"Use one of {known}"
        ) from None


def _cement(given: CementParameters) -> None:
    from sacroplasty.cement import cement_named

    cement_named(given.cement)
