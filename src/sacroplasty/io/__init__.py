"""Images in and out: every file passes one geometry gate, and leaves as a standard object.

Readers bring CT, MR, labels and masks into patient LPS mm with axes near +left, +posterior, +superior; the world never
moves, only the storage order, and what it was is recorded. The gate accepts, warns or rejects with a stable code.
"""

from sacroplasty.io.atomic import write_atomically, write_bytes
from sacroplasty.io.inspection import Inspection, inspect
from sacroplasty.io.labels import label_table, read_labels, read_mask, require_mask_on_grid
from sacroplasty.io.markups import Markup, read_markups
from sacroplasty.io.mesh import read_mesh, write_mesh
from sacroplasty.io.nifti import read_nifti, read_nifti_array, write_nifti
from sacroplasty.io.nrrd import write_nrrd
from sacroplasty.io.openigtlink import needle_pose_message, send, trajectory_message
from sacroplasty.io.originals import read_originals
from sacroplasty.io.series import ImageSeries, fingerprint, read_ct, read_series
from sacroplasty.io.structures import read_structures
from sacroplasty.io.verdict import CODES, Remark, Verdict

__all__ = [
    "CODES",
    "ImageSeries",
    "Inspection",
    "Markup",
    "Remark",
    "Verdict",
    "fingerprint",
    "inspect",
    "label_table",
    "needle_pose_message",
    "read_ct",
    "read_labels",
    "read_markups",
    "read_mask",
    "read_mesh",
    "read_nifti",
    "read_nifti_array",
    "read_originals",
    "read_series",
    "read_structures",
    "require_mask_on_grid",
    "send",
    "trajectory_message",
    "write_atomically",
    "write_bytes",
    "write_mesh",
    "write_nifti",
    "write_nrrd",
]
