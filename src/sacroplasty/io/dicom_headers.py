"""Headers of DICOM images, one record per frame, classic or enhanced; nothing is believed yet."""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from sacroplasty.io.verdict import rejected

# More files than this in one folder are not one study of a pelvis.
MAXIMUM_FILES = 20_000


@dataclass(frozen=True)
class Slice:
    """One image plane as its header describes it; None or "" where a value is missing or not readable."""

    path: Path
    frame: int | None
    sop_uid: str
    patient: str
    study: str
    series: str
    frame_of_reference: str
    modality: str
    description: str
    image_type: tuple[str, ...]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    rows: int
    columns: int
    slope: float | None
    intercept: float | None
    kernel: str
    acquisition: str
    stack: str
    instance: int
    photometric: str
    bits_allocated: int
    samples: int
    padding: float | None
    patient_position: str
    lossy: bool

    @property
    def is_scout(self) -> bool:
        """A localizer, not a slice."""
        return "LOCALIZER" in self.image_type or "SCOUT" in self.image_type


def regular_files(folder: Path) -> list[Path]:
    """Plain files below a folder, sorted; links, pipes and devices are left out."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if stat.S_ISREG(os.lstat(path).st_mode):
                found.append(path)
        if len(found) > MAXIMUM_FILES:
            raise rejected(
                "SAC-G004",
                "The folder holds too many files",
                got=f"over {MAXIMUM_FILES}",
                remedy="Point at the folder of one study",
            )
    return found


def read_headers(files: list[Path]) -> tuple[list[Slice], list[Path]]:
    """Every image plane in the files, and the files that are DICOM by name or content but could not be read."""
    slices: list[Slice] = []
    unreadable: list[Path] = []
    for path in files:
        if not _looks_like_dicom(path):
            if path.suffix.lower() in {".dcm", ".ima"}:
                unreadable.append(path)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = pydicom.dcmread(path, stop_before_pixels=True)
                slices.extend(slices_of(header, path))
        except MemoryError:
            raise
        except Exception:  # damaged files raise nearly anything
            unreadable.append(path)
    return slices, unreadable


def _looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def slices_of(header: Dataset, path: Path) -> list[Slice]:
    """The image planes of one object; none for those without rows and columns (reports, plans).

    Raises ValueError or what pydicom raises where the object is cut short, the file's description of itself is
    damaged, or it describes another number of frames than it says it holds.
    """
    if not header.get("SOPClassUID"):
        raise ValueError("an object without a class is cut short")
    # Reads every element of the file's own description, and raises where one is damaged.
    tuple(getattr(header, "file_meta", ()))
    if not header.get("Rows") or not header.get("Columns"):
        return []
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        return [_slice(header, path, None, [header])]
    announced = _numbers(header.get("NumberOfFrames"), 1)
    if announced != (float(len(frames)),):
        raise ValueError("not every frame is described")
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    return [_slice(header, path, n, [frame, *shared, header]) for n, frame in enumerate(frames)]


def _slice(header: Dataset, path: Path, frame: int | None, places: list[Dataset]) -> Slice:
    def numbers(group: str, name: str, count: int) -> tuple[float, ...] | None:
        return _numbers(_found(places, group, name), count)

    def number(group: str, name: str) -> float | None:
        found = numbers(group, name, 1)
        return None if found is None else found[0]

    syntax = str(header.file_meta.get("TransferSyntaxUID", "")) if hasattr(header, "file_meta") else ""
    frame_type = _found(places, "CTImageFrameTypeSequence", "FrameType") or header.get("ImageType") or ()
    return Slice(
        path=path,
        frame=frame,
        sop_uid=str(header.get("SOPInstanceUID", "")),
        patient=_patient_key(header),
        study=str(header.get("StudyInstanceUID", "")),
        series=str(header.get("SeriesInstanceUID", "")),
        frame_of_reference=str(header.get("FrameOfReferenceUID", "") or ""),
        modality=str(header.get("Modality", "")),
        description=str(header.get("SeriesDescription", ""))[:64],
        image_type=tuple(str(v) for v in ([frame_type] if isinstance(frame_type, str) else frame_type)),
        position=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing=numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        rows=int(header.Rows),
        columns=int(header.Columns),
        slope=number("PixelValueTransformationSequence", "RescaleSlope"),
        intercept=number("PixelValueTransformationSequence", "RescaleIntercept"),
        kernel=str(_found(places, "CTReconstructionSequence", "ConvolutionKernel") or ""),
        acquisition=str(header.get("AcquisitionNumber", "") or ""),
        stack=str(_found(places, "FrameContentSequence", "StackID") or ""),
        instance=int((_numbers(header.get("InstanceNumber"), 1) is not None and float(header.InstanceNumber)) or 0),
        photometric=str(header.get("PhotometricInterpretation", "")),
        bits_allocated=int(header.get("BitsAllocated", 0) or 0),
        samples=int(header.get("SamplesPerPixel", 1) or 1),
        padding=_padding(header),
        patient_position=str(header.get("PatientPosition", "") or ""),
        lossy=_is_lossy(header, syntax),
    )


def _found(places: list[Dataset], group: str, name: str) -> Any:
    """A value in the frame's functional group, else in the shared group, else at the top of the object."""
    for place in places:
        item = next(iter(place.get(group) or []), None) if group in place else None
        for holder in (item, place):
            value = holder.get(name) if holder is not None else None
            if value is not None and value != "":
                return value
    return None


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if value is None or isinstance(value, str | bytes):
        value = [] if value is None else str(value).split("\\")
    try:
        found = tuple(float(v) for v in (value if hasattr(value, "__iter__") else [value]))
    except (TypeError, ValueError):
        return None
    return found if len(found) == count else None


def _padding(header: Dataset) -> float | None:
    """The stored value that stands for no data; signed values written into an unsigned tag are put right."""
    found = _numbers(header.get("PixelPaddingValue"), 1)
    if found is None:
        return None
    signed = int(header.get("PixelRepresentation", 0) or 0) == 1
    return found[0] - 65536 if signed and found[0] > 32767 else found[0]


def _patient_key(header: Dataset) -> str:
    """A fingerprint of the patient's identity, so that two patients differ without a name being kept."""
    identity = "|".join(str(header.get(name, "")) for name in ("PatientID", "PatientName", "PatientBirthDate"))
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


_LOSSY_SYNTAXES = {
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
}  # fmt: skip


def _is_lossy(header: Dataset, syntax: str) -> bool:
    # JPEG 2000 (.91) and JPEG-LS near-lossless (.81) may be lossless all the same; the flag then says so.
    flag = str(header.get("LossyImageCompression", "") or "")
    return flag == "01" or (syntax in _LOSSY_SYNTAXES and flag != "00")
