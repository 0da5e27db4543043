"""Masks as an RT Structure Set, for radiotherapy centres."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage
from skimage import measure

from sacroplasty import __version__
from sacroplasty.report.dicom_source import MANUFACTURER, MODEL, SERIES_PREFIX, stamped, uid_of
from sacroplasty.space import Mask


def structure_set(masks: Mapping[str, Mask], source: Sequence[Dataset], when: datetime) -> Dataset:
    """Named masks as closed contours on the source images' planes, patient LPS mm.

    A hole is cut by a keyhole-free even-odd pair: its contour is written as a contour of its own, as RT programs
    expect. Contours run through pixel borders at half occupancy.
    """
    first = source[0]
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = RTStructureSetStorage, "RTSTRUCT"
    content = b"".join(np.packbits(mask.array).tobytes() for mask in masks.values())
    ds.SOPInstanceUID = uid_of("structures", first.SeriesInstanceUID, *masks, content)
    for name in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate",
                 "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        setattr(ds, name, first.get(name, ""))
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = uid_of("series", ds.SOPInstanceUID), 105, 1
    ds.SeriesDescription = (SERIES_PREFIX + "structures")[:64]
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = MANUFACTURER, MODEL, __version__
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime, ds.OperatorsName = "SACROPLASTY", "", "", ""
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = first.FrameOfReferenceUID, ""
    ds.ReferencedFrameOfReferenceSequence = [_frame(source)]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (name, mask) in enumerate(masks.items(), start=1):
        ds.StructureSetROISequence.append(_roi(number, name, first))
        ds.ROIContourSequence.append(_contours(number, mask, source))
        ds.RTROIObservationsSequence.append(_observation(number))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    return stamped(ds, when)


def _frame(source: Sequence[Dataset]) -> Dataset:
    frame, study, series = Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID = source[0].FrameOfReferenceUID
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = source[0].StudyInstanceUID
    series.SeriesInstanceUID = source[0].SeriesInstanceUID
    series.ContourImageSequence = [_reference(ds) for ds in source]
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    return frame


def _reference(ds: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, ds.SOPInstanceUID
    return item


def _roi(number: int, name: str, first: Dataset) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = number, name
    item.ReferencedFrameOfReferenceUID, item.ROIGenerationAlgorithm = first.FrameOfReferenceUID, "SEMIAUTOMATIC"
    return item


def _observation(number: int) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType, item.ROIInterpreter = "ORGAN", ""
    return item


def _contours(number: int, mask: Mask, source: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    colour = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.7, 1)
    item.ReferencedROINumber, item.ROIDisplayColor = number, [round(255 * v) for v in colour]
    item.ContourSequence = []
    for ds in source:
        for outline in _outlines(mask, ds):
            contour = Dataset()
            contour.ContourImageSequence = [_reference(ds)]
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(outline)
            contour.ContourData = [f"{v:.3f}" for v in outline.ravel()]
            item.ContourSequence.append(contour)
    return item


def _outlines(mask: Mask, ds: Dataset) -> list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Closed outlines (n, 3), LPS mm, of the mask on one image's plane."""
    orientation = np.array([float(v) for v in ds.ImageOrientationPatient])
    down, across = (float(v) for v in ds.PixelSpacing)
    corner = np.array([float(v) for v in ds.ImagePositionPatient])
    rows, columns = np.mgrid[0 : int(ds.Rows), 0 : int(ds.Columns)]
    place = corner + columns[..., None] * across * orientation[:3] + rows[..., None] * down * orientation[3:]
    inside = np.pad(mask.contains(place), 1)
    if not inside.any():
        return []
    found = []
    for line in measure.find_contours(inside.astype(np.float32), 0.5):
        row, column = line[:-1, :1] - 1, line[:-1, 1:] - 1
        found.append(corner + column * across * orientation[:3] + row * down * orientation[3:])
    return [outline for outline in found if len(outline) >= 3]
