"""Several lesions in one case: which one is treated, and that they are really several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from sacroplasty.errors import InputError
from sacroplasty.lesion.lesion import Lesion


def treated_first(lesions: Sequence[Lesion], number: int = 1) -> tuple[Lesion, ...]:
    """The lesions with the treated one, counted from 1, in front and the others in their order.

    Raises InputError where there is no such lesion, or where two of them share bone: they are one lesion then.
    """
    if not 1 <= number <= len(lesions):
        raise InputError(
            "There is no such lesion to treat", got=f"number {number} of {len(lesions)}", remedy="Count from 1"
        )
    for (first, a), (second, b) in combinations(enumerate(lesions, start=1), 2):
        shared = float((a.mask.array & b.mask.array).sum()) * a.mask.grid.voxel_volume_ml
        if shared > 0:
            raise InputError(
                "Two lesions overlap",
                got=f"lesions {first} and {second} share {shared:.2f} mL",
                remedy="Give them as one mask, or draw them apart",
            )
    return (lesions[number - 1], *lesions[: number - 1], *lesions[number:])
