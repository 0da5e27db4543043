"""A DICOM series as raw slices: pixels decoded, rescaled and placed by their own position and orientation."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement

from sacroplasty.errors import GeometryError, InputError
from sacroplasty.io.dicom_headers import Slice, read_headers, regular_files
from sacroplasty.io.dicom_second import corners_by_gdcm
from sacroplasty.io.dicom_stacks import SAME_PLACE_MM, Stack, chosen_stack, heights_mm, stacks_of, unreadable_remark
from sacroplasty.io.dicom_values import rescaled
from sacroplasty.io.gate import UNIT_TOLERANCE
from sacroplasty.io.raw import Array, RawImage
from sacroplasty.io.verdict import Remark, rejected
from sacroplasty.space import Points


def dicom_stacks(path: Path) -> tuple[tuple[Stack, ...], tuple[Remark, ...]]:
    """Every stack at a file or below a folder, and what could not be read."""
    slices, unreadable = read_headers(regular_files(path) if path.is_dir() else [path])
    if not slices:
        raise rejected(
            "SAC-G001",
            "No DICOM image was found",
            got=f"{len(unreadable)} unreadable files" if unreadable else path.name,
            remedy="Point at the folder of a CT series, or at a .nii.gz or .nrrd file",
        )
    return stacks_of(slices), unreadable_remark(unreadable)


def described_stacks(path: Path) -> list[str]:
    """One line for every stack at a path. Runs in the child process."""
    return [stack.describe() for stack in dicom_stacks(path)[0]]


def load_dicom(path: Path, series: str | None = None, modality: str | None = None) -> RawImage:
    """The slices of the one stack of a modality that can be a volume, or of the one that `series` names."""
    stacks, remarks = dicom_stacks(path)
    stack, aside = chosen_stack(stacks, series, modality)
    _require_header(stack)
    planes, pixels, dropped = _decoded(stack)
    array, odd = rescaled(planes, pixels)
    first = planes[0]
    lossy = (Remark("SAC-G036", "The images are stored with lossy compression."),) if first.lossy else ()
    about = {
        "format": "DICOM",
        "series_uid": first.series,
        "study_uid": first.study,
        "frame_of_reference_uid": first.frame_of_reference,
        "patient_position": first.patient_position,
        "patient_fingerprint": first.patient,
        "files": str(len({p.path for p in planes})),
    }
    return RawImage(
        array=array,
        first_step_mm=_steps(first)[0],
        second_step_mm=_steps(first)[1],
        origins_mm=np.array([p.position for p in planes], dtype=np.float64),
        modality=first.modality,
        remarks=(*remarks, *aside, *dropped, *odd, *lossy, *_posture(first)),
        about=about,
        second_corners_mm=corners_by_gdcm(planes, array.shape),
    )


def _require_header(stack: Stack) -> None:
    """Refuse what no later step could mend: no place, no scale, no Hounsfield rule, odd pixels."""
    for one in stack.slices:
        where = one.path.name if one.frame is None else f"{one.path.name} frame {one.frame + 1}"
        _require_place(one, where)
        _require_scale(one, where)
        if one.photometric != "MONOCHROME2" or one.samples != 1 or one.bits_allocated != 16:
            got = f"{one.photometric}, {one.samples} samples, {one.bits_allocated} bits"
            remedy = "Export the original images"
            raise rejected("SAC-G034", "Pixels are not 16-bit MONOCHROME2", got=got, remedy=remedy)


def _require_place(one: Slice, where: str) -> None:
    if one.position is None or one.orientation is None:
        what = "An image does not say where it lies in the patient"
        remedy = "Export the original axial series, not screen captures"
        raise rejected("SAC-G020", what, got=where, remedy=remedy)
    row, column = np.array(one.orientation[:3]), np.array(one.orientation[3:])
    unit = np.abs([row @ row - 1, column @ column - 1, row @ column]).max()
    if not np.isfinite(one.position).all() or not unit <= UNIT_TOLERANCE:
        what = "Position or orientation is not finite, not unit or not perpendicular"
        raise rejected("SAC-G021", what, got=where, remedy="Export the series again")
    if one.spacing is None or not min(one.spacing) > 0:
        what = "Pixel spacing is missing or not two positive numbers"
        raise rejected("SAC-G022", what, got=where, remedy="Export the series again")


def _require_scale(one: Slice, where: str) -> None:
    if one.modality == "CT" and (one.slope is None or one.intercept is None):
        what = "Rescale slope or intercept is missing, so values are not Hounsfield units"
        raise rejected("SAC-G030", what, got=where, remedy="Export the original CT images")
    slope, intercept = 1.0 if one.slope is None else one.slope, one.intercept or 0.0
    plausible = one.modality != "CT" or (0.01 <= slope <= 100 and abs(intercept) <= 32768)
    if not np.isfinite([slope, intercept]).all() or not plausible or slope == 0:
        got = f"{where}: slope {slope}, intercept {intercept}"
        remedy = "Export the original images"
        raise rejected("SAC-G030", "The rescale rule is not plausible", got=got, remedy=remedy)


def _steps(plane: Slice) -> tuple[Points, Points]:
    """From a voxel to the next along a row, and along a column: PixelSpacing names the distance of rows first."""
    cosines, spacing = np.array(plane.orientation), np.array(plane.spacing)
    return cosines[:3] * spacing[1], cosines[3:] * spacing[0]


def _posture(first: Slice) -> tuple[Remark, ...]:
    position = first.patient_position
    if position in {"HFS", "FFS", "HFP", "FFP"}:
        return ()
    said = f"lies {position}" if position else "position is not stated"
    return (Remark("SAC-G037", f"The patient {said}: check gravity and table side before planning."),)


def _frames(stack: Stack) -> Iterator[tuple[Slice, Array]]:
    """Each slice with its stored pixels (rows, columns); a multi-frame file is decoded once."""
    opened: tuple[Path, Array] | None = None
    for one in stack.slices:
        if opened is None or opened[0] != one.path:
            opened = (one.path, _pixels(one.path))
        pixels = opened[1]
        if one.frame is not None and pixels.ndim == 3:
            pixels = pixels[one.frame]
        if pixels.shape != (one.rows, one.columns):
            raise rejected("SAC-G003", "Pixels do not fill the image", got=f"{one.path.name}: {pixels.shape}")
        yield one, pixels


def _pixels(path: Path) -> Array:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path)
            _require_exact_end(ds, path)
            return np.asarray(ds.pixel_array)
    except (MemoryError, GeometryError, InputError):
        raise
    except Exception as error:  # decoders raise nearly anything
        raise rejected(
            "SAC-G003",
            f"The pixels of {path.name} cannot be decoded",
            got=f"{type(error).__name__}: {error}"[:200],
            remedy="Export the series again, uncompressed",
        ) from error


def _require_exact_end(ds: pydicom.Dataset, path: Path) -> None:
    """A file of plain pixels ends with its last element; else bytes were put in or lost, and pixels may be shifted."""
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_deflated or syntax.is_compressed:
        return
    last = ds.get_item(max(ds.keys()))
    # Sequences, which signatures after the pixels are, tell their end themselves.
    if not isinstance(last, RawDataElement) or last.length == 0xFFFFFFFF:
        return
    end, size = last.value_tell + last.length, path.stat().st_size
    if end != size:
        what, got = f"{path.name} does not end with its last element", f"{size} bytes, {end} announced"
        raise rejected("SAC-G003", what, got=got, remedy="Copy or export the series again")


def _decoded(stack: Stack) -> tuple[list[Slice], list[Array], tuple[Remark, ...]]:
    """Slices and pixels with identical duplicates dropped; different pixels at one place are refused."""
    heights = heights_mm(stack.slices)
    planes: list[Slice] = []
    pixels: list[Array] = []
    dropped = []
    for n, (one, frame) in enumerate(_frames(stack)):
        if planes and heights[n] - heights[n - 1] < SAME_PLACE_MM:
            same_place = np.allclose(one.position or 0, planes[-1].position or 0, atol=SAME_PLACE_MM)
            if not same_place or _digest(frame) != _digest(pixels[-1]):
                raise rejected(
                    "SAC-G015",
                    "Two different slices lie at one position",
                    got=f"{planes[-1].path.name} and {one.path.name}",
                    remedy="Export one reconstruction, or choose one with --series",
                )
            dropped.append(one.path.name)
            continue
        planes.append(one)
        pixels.append(frame)
    if not dropped:
        return planes, pixels, ()
    names = ", ".join(dropped[:5])
    return planes, pixels, (Remark("SAC-G014", f"{len(dropped)} duplicate slices dropped: {names}."),)


def _digest(frame: Array) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(frame).tobytes()).digest()
