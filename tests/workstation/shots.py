"""Radiographs as the DICOM XA files that a C-arm exports: 16 bits, geometry in the header, no isocentre."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from sacroplasty.fluoroscopy import Radiograph


def as_dicom(shot: Radiograph, path: Path, *, patient: str = "P1", modality: str = "XA") -> Path:
    """Write one radiograph; values are proportional to the signal."""
    view, signal = shot.view, np.asarray(shot.signal, dtype=np.float64)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.PatientName, ds.SeriesDescription = modality, patient, "", view.name
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient = (
        view.carm.source_detector_mm,
        view.carm.source_isocentre_mm,
    )
    ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = round(view.primary_deg, 4), round(view.secondary_deg, 4)
    ds.ImagerPixelSpacing = [round(view.carm.pixel_mm, 6)] * 2
    ds.PatientPosition = view.patient_position.value
    ds.Rows, ds.Columns = signal.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelIntensityRelationship = 1, "MONOCHROME2", "LIN"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = np.rint(60_000 * signal / signal.max()).astype("<u2").tobytes()
    ds.save_as(path, enforce_file_format=True)
    return path
