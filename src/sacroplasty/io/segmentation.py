"""DICOM Segmentation objects as label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sacroplasty.io.storage import canonical
from sacroplasty.io.verdict import rejected
from sacroplasty.space import Grid, LabelMap


def load_segmentation(path: Path) -> LabelMap:
    """The segments of a DICOM SEG file, canonical storage order, world unchanged; overlapping segments are refused."""
    # highdicom takes a second to import, and most cases never need it.
    from highdicom.seg import segread

    try:
        segmentation = segread(str(path))
    except MemoryError:
        raise
    except Exception as error:  # damaged or foreign files raise nearly anything
        raise rejected("SAC-G005", "The file is not a DICOM Segmentation", got=str(error)[:200]) from error
    try:
        volume = segmentation.get_volume(combine_segments=True)
    except Exception as error:  # overlapping segments, tilted or uneven planes
        raise rejected(
            "SAC-G063",
            "The segmentation is not one label map on a regular grid",
            got=f"{path.name}: {error}"[:200],
            remedy="Export it without overlapping segments, on the CT's own slices",
        ) from error
    names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in segmentation.SegmentSequence}
    array, affine, _ = canonical(np.asarray(volume.array), np.asarray(volume.affine))
    i, j, k = array.shape
    grid = Grid.from_affine((i, j, k), affine, str(segmentation.FrameOfReferenceUID))
    return LabelMap(np.ascontiguousarray(array).astype(np.uint8 if max(names) < 256 else np.uint16), grid, names)
