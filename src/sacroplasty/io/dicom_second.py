"""A second, independent reader of DICOM geometry: GDCM's own parser, none of pydicom's.

It exists to disagree: the gate compares its corners with those of the first reader.
"""

from __future__ import annotations

from typing import Any

import gdcm
import numpy as np

from sacroplasty.io.dicom_headers import Slice
from sacroplasty.space import Points

_SHARED, _PER_FRAME = (0x5200, 0x9229), (0x5200, 0x9230)
# Functional group and element of a plane's position, orientation and pixel spacing.
_POSITION = ((0x0020, 0x9113), (0x0020, 0x0032))
_ORIENTATION = ((0x0020, 0x9116), (0x0020, 0x0037))
_SPACING = ((0x0028, 0x9110), (0x0028, 0x0030))
_NOWHERE = np.full((8, 3), np.nan)


def corners_by_gdcm(planes: list[Slice], shape: tuple[int, ...]) -> Points:
    """Centres of the eight corner voxels (8, 3) in LPS mm, i fastest; not a number where GDCM cannot tell."""
    corners = []
    for plane in (planes[0], planes[-1]):
        found = _classic(plane) if plane.frame is None else _frame(plane)
        if found is None:
            return _NOWHERE
        origin, cosines, spacing = found
        for j in (0, shape[1] - 1):
            for i in (0, shape[0] - 1):
                corners.append(origin + cosines[:3] * spacing[0] * i + cosines[3:] * spacing[1] * j)
    return np.array(corners)


def _classic(plane: Slice) -> tuple[Points, Points, Points] | None:
    """Origin, direction cosines, and spacing along a row and along a column, of a file with one image."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plane.path))
    if not reader.Read():
        return None
    image = reader.GetImage()
    return (
        np.array([image.GetOrigin(axis) for axis in range(3)]),
        np.array([image.GetDirectionCosines(axis) for axis in range(6)]),
        np.array([image.GetSpacing(axis) for axis in range(2)]),
    )


def _frame(plane: Slice) -> tuple[Points, Points, Points] | None:
    """The same of one frame of an enhanced file: from its own functional groups, else from the shared ones."""
    reader = gdcm.Reader()
    reader.SetFileName(str(plane.path))
    if plane.frame is None or not reader.Read():
        return None
    top = reader.GetFile().GetDataSet()
    holders = [_item(top, _PER_FRAME, plane.frame), _item(top, _SHARED, 0)]
    position, orientation, spacing = (
        next((n for holder in holders if (n := _numbers(_item(holder, group, 0), tag)) is not None), None)
        for group, tag in (_POSITION, _ORIENTATION, _SPACING)
    )
    if position is None or orientation is None or spacing is None:
        return None
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2):
        return None
    # Pixel spacing names the distance of rows first.
    across, down = float(spacing[1]), float(spacing[0])
    return position, orientation, np.array([across, down])


def _item(holder: Any, tag: tuple[int, int], number: int) -> Any:
    """The dataset of one item of a sequence, counted from 0; None where there is none."""
    if holder is None or not holder.FindDataElement(gdcm.Tag(*tag)):
        return None
    sequence = holder.GetDataElement(gdcm.Tag(*tag)).GetValueAsSQ()
    # An empty sequence comes back as a null pointer.
    if not sequence or sequence.GetNumberOfItems() <= number:
        return None
    return sequence.GetItem(number + 1).GetNestedDataSet()


def _numbers(holder: Any, tag: tuple[int, int]) -> Points | None:
    """The decimal strings of an element."""
    if holder is None or not holder.FindDataElement(gdcm.Tag(*tag)):
        return None
    text = str(holder.GetDataElement(gdcm.Tag(*tag)).GetByteValue() or "")
    try:
        return np.array([float(part) for part in text.strip(" \0").split("\\")])
    except ValueError:
        return None
