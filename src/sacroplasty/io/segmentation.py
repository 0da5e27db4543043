"""DICOM Segmentation objects as label images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sacroplasty.io.raw import RawImage, raw_from_affine
from sacroplasty.io.verdict import rejected


def load_segmentation(path: Path) -> RawImage:
    """The segments of a DICOM SEG file as one label image; overlapping segments are refused. Runs in the child."""
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
    about = {
        "format": "DICOM SEG",
        "frame_of_reference_uid": str(segmentation.FrameOfReferenceUID),
        "label_names": json.dumps(names),
    }
    return raw_from_affine(np.asarray(volume.array), np.asarray(volume.affine), about=about)
