"""The CT series that exported DICOM objects refer to: the patient's own, or one written from the case's CT."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from sacroplasty import NOT_FOR_CLINICAL_USE, __version__
from sacroplasty.errors import InputError
from sacroplasty.io import fingerprint, read_originals
from sacroplasty.space import Volume

MANUFACTURER = "sacroplasty"
MODEL = "sacroplasty (research, not for clinical use)"
# Not a paired part of the body, so no object needs to state a laterality.
BODY_PART = "PELVIS"
SERIES_PREFIX = "RESEARCH - NOT FOR CLINICAL USE - "


@dataclass(frozen=True)
class Identity:
    """Whose images these are, as they shall be written; the default is a patient without a name."""

    patient_id: str = "ANONYMOUS"
    patient_name: str = "Anonymous^"
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    study_id: str = ""


def uid_of(*parts: object) -> str:
    """A UID that is always the same for the same parts."""
    return str(generate_uid(entropy_srcs=[str(part) for part in parts]))


def stamped(ds: Dataset, when: datetime) -> Dataset:
    """Set every date and time of an object's making, so that equal content gives equal bytes."""
    day, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    for name in ("Content", "InstanceCreation", "Series", "StructureSet", "PresentationCreation"):
        if f"{name}Date" in ds:
            setattr(ds, f"{name}Date", day)
        if f"{name}Time" in ds:
            setattr(ds, f"{name}Time", time)
    for item in ds.get("ContributingEquipmentSequence", []):
        item.ContributionDateTime = day + time
    return ds


def saved(ds: Dataset, path: Path) -> Path:
    """Write an object with its file meta information; InputError where it cannot be written."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    held = getattr(ds, "file_meta", None)
    meta.TransferSyntaxUID = held.TransferSyntaxUID if held is not None else ExplicitVRLittleEndian
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FileDataset(str(path), ds, preamble=b"\0" * 128, file_meta=meta).save_as(path, enforce_file_format=True)
    except OSError as error:
        raise InputError(f"{path.name} cannot be written", got=str(error), remedy="Free space or use --out") from error
    return path


def source_series(folder: Path, ct: Volume) -> list[Dataset]:
    """The original images of a CT, feet to head, for exports that refer to them; InputError where they do not fit it.

    `folder` holds the DICOM series; images of other series, and those set aside, are left out by frame of reference,
    matrix and place.
    """
    found = [ds for ds in read_originals(folder, "CT") if _fits(ds, ct)]
    normal = np.cross(*np.reshape([float(v) for v in found[0].ImageOrientationPatient], (2, 3))) if found else None
    if normal is None or len(found) not in ct.grid.shape:
        raise InputError(
            "The DICOM series does not fit the case's CT",
            got=f"{len(found)} images for {ct.grid.describe()}",
            remedy="Give the series that the CT was read from, or leave it out to export a series of its own",
        )
    found.sort(key=lambda ds: float(np.dot(normal, [float(v) for v in ds.ImagePositionPatient])))
    for ds in found:
        # highdicom refuses code extensions with an empty first value, which Japanese scanners write.
        ds.decode()
        ds.SpecificCharacterSet = "ISO_IR 192"
        # It copies these from the source and fails where old scanners left them out.
        for name in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientBirthDate", "PatientSex"):
            if name not in ds:
                setattr(ds, name, "")
    return found


def _fits(ds: Dataset, ct: Volume) -> bool:
    uid = ct.grid.frame_of_reference_uid
    if uid and str(ds.get("FrameOfReferenceUID", "")) != uid:
        return False
    corner = np.array([float(v) for v in ds.ImagePositionPatient])
    index = ct.grid.voxel_from_patient.points(corner)
    sizes = {int(ds.Rows), int(ds.Columns)} <= set(ct.grid.shape)
    near = np.abs(index - np.rint(index)).max() < 0.05
    inside = ((index > -0.05) & (index < np.asarray(ct.grid.shape) - 0.95)).all()
    return bool(sizes and near and inside)


def ct_series(ct: Volume, identity: Identity | None = None, when: datetime | None = None) -> list[Dataset]:
    """The case's CT as axial DICOM images, feet to head, with UIDs that follow from its content."""
    who, at = identity or Identity(), when or datetime(2000, 1, 1)
    key = fingerprint(ct)
    study = uid_of("study", who.patient_id, key)
    frame = ct.grid.frame_of_reference_uid or uid_of("frame of reference", key)
    return [_ct_image(ct, k, who, at, (study, uid_of("series", key), frame)) for k in range(ct.grid.shape[2])]


def _ct_image(ct: Volume, k: int, who: Identity, at: datetime, uids: tuple[str, str, str]) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, uid_of("image", uids[1], k)
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uids
    _patient(ds, who, at)
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = "CT", 1, k + 1, 1
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    ds.SeriesDescription, ds.BodyPartExamined = (SERIES_PREFIX + "CT")[:64], BODY_PART
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = MANUFACTURER, MODEL, __version__
    ds.ImageComments = NOT_FOR_CLINICAL_USE
    ds.PatientPosition, ds.PositionReferenceIndicator, ds.KVP = "", "", None
    grid = ct.grid
    directions = grid.affine_lps[:3, :3] / grid.spacing_mm
    ds.ImagePositionPatient = [f"{v:.6f}" for v in grid.patient_from_voxel.points((0, 0, k))]
    ds.ImageOrientationPatient = [f"{v:.9f}" for v in (*directions[:, 0], *directions[:, 1])]
    ds.PixelSpacing = [f"{grid.spacing_mm[1]:.8f}", f"{grid.spacing_mm[0]:.8f}"]
    ds.SliceThickness = f"{grid.spacing_mm[2]:.6f}"
    frame = np.clip(np.rint(ct.array[:, :, k].T), -32768, 32767).astype("<i2")
    ds.Rows, ds.Columns = frame.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "HU"
    ds.LossyImageCompression = "00"
    ds.PixelData = frame.tobytes()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image: Any = FileDataset(None, ds, file_meta=meta)
    return image


def _patient(ds: Dataset, who: Identity, at: datetime) -> None:
    ds.PatientID, ds.PatientName = who.patient_id, who.patient_name
    ds.PatientBirthDate, ds.PatientSex = who.birth_date, who.sex
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = who.accession_number, who.study_id, ""
    day, time = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    for name in ("Study", "Series", "Content"):
        setattr(ds, f"{name}Date", day)
        setattr(ds, f"{name}Time", time)
