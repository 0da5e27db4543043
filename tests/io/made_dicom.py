"""Makes CT series in DICOM as scanners do, so that they can be broken in known ways."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
)

from sacroplasty.space import Grid, Volume

ROOT = "1.2.826.0.1.3680043.8.498.1"
SPACING = 2.5
Change = Callable[[Dataset, int], None]


def body_ct(shape: tuple[int, int, int] = (44, 36, 28), spacing: float = SPACING) -> Volume:
    """An elliptic body in air with bone on the left and behind, nowhere symmetric."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = (-60.0, -40.0, -900.0)
    grid = Grid.from_affine(shape, affine, f"{ROOT}.9")
    x, y, z = np.moveaxis(grid.centres_mm(), -1, 0)
    array = np.full(shape, -1000, dtype=np.int16)
    array[((x + 5) / 42) ** 2 + ((y - 5) / 36) ** 2 < 1] = 40
    array[(x - 12) ** 2 + (y - 18) ** 2 + ((z + 870) / 1.5) ** 2 < 150] = 500
    array[(x + 15) ** 2 + (y + 4) ** 2 < 60] = -80
    return Volume(array, grid)


def one_slice(ct: Volume, k: int) -> Dataset:
    """Slice k as a classic CT image."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"{ROOT}.5.{k + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.2", f"{ROOT}.3"
    ds.FrameOfReferenceUID = ct.grid.frame_of_reference_uid
    ds.Modality, ds.PatientID, ds.PatientName, ds.PatientBirthDate = "CT", "P1", "Phantom^One", "19500101"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesDescription, ds.ConvolutionKernel = "pelvis 2.5", "B30"
    ds.AcquisitionNumber, ds.InstanceNumber, ds.SeriesNumber = 1, k + 1, 3
    ds.PatientPosition = "HFS"
    origin = ct.grid.patient_from_voxel.points((0, 0, k))
    spacing = ct.grid.spacing_mm
    ds.ImagePositionPatient = [f"{v:.6f}" for v in origin]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [spacing[1], spacing[0]]
    ds.SliceThickness = spacing[2]
    _pixels(ds, ct.array[:, :, k].T)
    return ds


def _pixels(ds: Dataset, frame: np.ndarray) -> None:
    ds.Rows, ds.Columns = frame.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.PixelData = np.ascontiguousarray(frame.astype(np.int32) + 1024).astype("<u2").tobytes()


def series(ct: Volume) -> list[Dataset]:
    """Every slice, feet to head."""
    return [one_slice(ct, k) for k in range(ct.grid.shape[2])]


def turned_series(ct: Volume, order: tuple[int, int, int], signs: tuple[int, int, int]) -> list[Dataset]:
    """The same world stored along other axes: `order` for columns, rows and slices, each reversed by its sign."""
    array = ct.array.transpose(order)[tuple(slice(None, None, s) for s in signs)]
    axes = ct.grid.affine_lps[:3, list(order)] * signs
    start = [0, 0, 0]
    for n in range(3):
        if signs[n] < 0:
            start[order[n]] = ct.grid.shape[order[n]] - 1
    origin = ct.grid.patient_from_voxel.points(start)
    spacing = np.linalg.norm(axes, axis=0)
    made = []
    for k in range(array.shape[2]):
        ds = one_slice(ct, 0)
        ds.SOPInstanceUID, ds.InstanceNumber = f"{ROOT}.5.{k + 1}", k + 1
        ds.ImagePositionPatient = [f"{v:.6f}" for v in origin + k * axes[:, 2]]
        ds.ImageOrientationPatient = [*(axes[:, 0] / spacing[0]), *(axes[:, 1] / spacing[1])]
        ds.PixelSpacing = [spacing[1], spacing[0]]
        _pixels(ds, array[:, :, k].T)
        made.append(ds)
    return made


def enhanced(ct: Volume, order: list[int] | None = None) -> Dataset:
    """The whole CT as one enhanced multi-frame image, frames in any order."""
    order = list(range(ct.grid.shape[2])) if order is None else order
    ds = one_slice(ct, 0)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(ds, name)
    _pixels(ds, ct.array[:, :, order].transpose(2, 1, 0))
    del ds.RescaleSlope, ds.RescaleIntercept
    ds.SOPClassUID, ds.NumberOfFrames = EnhancedCTImageStorage, len(order)
    shared, orientation, measures, values = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [ct.grid.spacing_mm[1], ct.grid.spacing_mm[0]], SPACING
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -1024, "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [values]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for k in order:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [f"{v:.6f}" for v in ct.grid.patient_from_voxel.points((0, 0, k))]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    return ds


def two_stacks(ct: Volume, second: str, said: bool = True) -> Dataset:
    """The CT twice in one enhanced image, as stacks "1" and "2".

    The second has other pixels ("same place"), lies after a gap ("further up") or runs along another axis ("turned").
    """
    ds = enhanced(ct)
    shared = ds.SharedFunctionalGroupsSequence[0]
    one = list(ds.PerFrameFunctionalGroupsSequence)
    two, pixels = deepcopy(one), ds.PixelData
    for k, (frame, other) in enumerate(zip(one, two, strict=True)):
        frame.PlaneOrientationSequence = other.PlaneOrientationSequence = shared.PlaneOrientationSequence
        x, y, z = map(float, one[0 if second == "turned" else k].PlanePositionSequence[0].ImagePositionPatient)
        if second == "turned":
            turned = Dataset()
            turned.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
            other.PlaneOrientationSequence, y, z = [turned], y + k * SPACING, z + 70
        place = Dataset()
        place.ImagePositionPatient = [x, y, z + (120 if second == "further up" else 0)]
        other.PlanePositionSequence = [place]
        for stack, holder in (("1", frame), ("2", other)) if said else ():
            content = Dataset()
            content.StackID, content.InStackPositionNumber = stack, k + 1
            holder.FrameContentSequence = [content]
    del shared.PlaneOrientationSequence
    ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames = one + two, 2 * len(one)
    ds.PixelData = pixels + (bytes(np.frombuffer(pixels, np.int16) + np.int16(1)) if second == "same place" else pixels)
    return ds


def put(ds: Dataset, keyword: str, text: str) -> None:
    """A value as raw text, however wrong for its kind."""
    raw = text.encode() + b" " * (len(text) % 2)
    ds[keyword] = DataElement(pydicom.datadict.tag_for_keyword(keyword), "UN", raw)


def drop(ds: Dataset, keyword: str) -> None:
    """Take a value away."""
    if keyword in ds:
        delattr(ds, keyword)


def save(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write one object with its file meta information."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    made = FileDataset(str(path), ds, preamble=b"\0" * 128, file_meta=meta)
    before = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        made.save_as(path, enforce_file_format=True)
    finally:
        config.settings.writing_validation_mode = before
    return path


def save_all(made: list[Dataset], folder: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a series, one file per slice."""
    for n, ds in enumerate(made):
        save(ds, folder / f"{n + 1:04d}.dcm", syntax)
    return folder
