"""Fluoroscopy: C-arm geometry, simulated radiographs, view planning, 2D/3D registration, needle tip with uncertainty.

A `CArm` posed about a patient is a `View`; `render` makes its `Radiograph` from a CT; `displayed` shows it with side
letters. Everything is in patient LPS mm; angles are DICOM positioner angles of the detector about the patient.
"""

from sacroplasty.fluoroscopy.carm import PROFILES, CArm
from sacroplasty.fluoroscopy.collision import Reach, body_surface, reach
from sacroplasty.fluoroscopy.display import Contour, Display, displayed
from sacroplasty.fluoroscopy.dose import DoseEstimate, estimated_dose
from sacroplasty.fluoroscopy.header import view_from_dataset
from sacroplasty.fluoroscopy.landmarks import pose_from_landmarks
from sacroplasty.fluoroscopy.material import Beam, Tissues
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import line_integrals
from sacroplasty.fluoroscopy.radiograph import Exposure, Radiograph, Seen, Visibility, render
from sacroplasty.fluoroscopy.registration import Registration, bone_volume, register
from sacroplasty.fluoroscopy.rehearsal import Checkpoint, rehearsal, rehearsal_frames, sheet
from sacroplasty.fluoroscopy.sighting import Sighting, detected, sighted
from sacroplasty.fluoroscopy.tip import Advice, Deviation, NeedlePose, deviation, triangulated
from sacroplasty.fluoroscopy.view import PatientPosition, View, angles_of, console_angles, view_from_console
from sacroplasty.fluoroscopy.views import PlannedView, bounding_views, planned_views, views_for
from sacroplasty.fluoroscopy.visibility import Stage, contours, judged, landmark_findings

__all__ = [
    "PROFILES",
    "Advice",
    "Beam",
    "CArm",
    "Checkpoint",
    "Contour",
    "Deviation",
    "Display",
    "DoseEstimate",
    "Exposure",
    "NeedlePose",
    "PackedVolume",
    "PatientPosition",
    "PlannedView",
    "Radiograph",
    "Reach",
    "Registration",
    "Seen",
    "Sighting",
    "Stage",
    "Tissues",
    "View",
    "Visibility",
    "angles_of",
    "body_surface",
    "bone_volume",
    "bounding_views",
    "console_angles",
    "contours",
    "detected",
    "deviation",
    "displayed",
    "estimated_dose",
    "judged",
    "landmark_findings",
    "line_integrals",
    "planned_views",
    "pose_from_landmarks",
    "reach",
    "register",
    "rehearsal",
    "rehearsal_frames",
    "render",
    "sheet",
    "sighted",
    "triangulated",
    "view_from_console",
    "view_from_dataset",
    "views_for",
]
