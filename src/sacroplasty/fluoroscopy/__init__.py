"""Fluoroscopy: C-arm geometry, simulated radiographs, view planning, 2D/3D registration, needle tip with uncertainty.

A `CArm` posed about a patient is a `View`; `render` makes its `Radiograph` from a CT; `displayed` shows it with side
letters. Everything is in patient LPS mm; angles are DICOM positioner angles of the detector about the patient.
"""

from sacroplasty.fluoroscopy.carm import PROFILES, CArm
from sacroplasty.fluoroscopy.display import Contour, Display, displayed
from sacroplasty.fluoroscopy.material import Beam, Tissues
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import line_integrals
from sacroplasty.fluoroscopy.radiograph import Exposure, Radiograph, render
from sacroplasty.fluoroscopy.view import PatientPosition, View, angles_of, console_angles, view_from_console

__all__ = [
    "PROFILES",
    "Beam",
    "CArm",
    "Contour",
    "Display",
    "Exposure",
    "PackedVolume",
    "PatientPosition",
    "Radiograph",
    "Tissues",
    "View",
    "angles_of",
    "console_angles",
    "displayed",
    "line_integrals",
    "render",
    "view_from_console",
]
