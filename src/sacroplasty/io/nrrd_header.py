"""A second, independent reader of NRRD geometry: the text of the header only, no library.

It exists to disagree: the gate compares its corners with those of the first reader.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sacroplasty.space import Points

_LARGEST_HEADER = 4_000_000
# Left, posterior and superior as signs of each space's coordinates; NRRD's own long and short names.
_LPS_SIGNS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_VECTOR = re.compile(r"none|\(([^()]*)\)")
_NOWHERE = np.full((8, 3), np.nan)


def corners_from_text(path: Path) -> Points:
    """Centres of the eight corner voxels (8, 3) in LPS mm, i fastest; not a number where the text does not say."""
    fields = _fields(path)
    try:
        sizes = [int(n) for n in fields["sizes"].split()]
        vectors = [_vector(found) for found in _VECTOR.finditer(fields["space directions"])]
        (origin,) = (_vector(found) for found in _VECTOR.finditer(fields["space origin"]))
        signs = _LPS_SIGNS[fields["space"].lower()]
    except (KeyError, ValueError):
        return _NOWHERE
    spatial = [(size, step) for size, step in zip(sizes, vectors, strict=False) if step is not None]
    if len(sizes) != len(vectors) or len(spatial) != 3 or origin is None:
        return _NOWHERE
    corners = []
    for far in np.ndindex(2, 2, 2):
        # The last of three indices runs fastest; the first axis of the file must.
        place = origin + sum(bit * (size - 1) * step for bit, (size, step) in zip(reversed(far), spatial, strict=True))
        corners.append(place * signs)
    return np.array(corners)


def _fields(path: Path) -> dict[str, str]:
    """Names and values of the header's lines, up to the first empty line."""
    with path.open("rb") as stream:
        text = stream.read(_LARGEST_HEADER).replace(b"\r\n", b"\n").split(b"\n\n", 1)[0].decode("latin-1")
    found: dict[str, str] = {}
    for line in text.split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#") and not value.startswith("="):
            found[name.strip().lower()] = value.strip()
    return found


def _vector(found: re.Match[str]) -> Points | None:
    """Three numbers in round brackets; None for the word none."""
    if found.group(1) is None:
        return None
    numbers = [float(part) for part in found.group(1).split(",")]
    if len(numbers) != 3:
        raise ValueError("a vector of space has three numbers")
    return np.array(numbers)
