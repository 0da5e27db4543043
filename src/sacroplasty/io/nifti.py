"""NIfTI in and out. The matrix of a NIfTI file is voxel-to-RAS; inside the package everything is LPS."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from sacroplasty.errors import InputError
from sacroplasty.io.atomic import write_atomically
from sacroplasty.io.nifti_header import announced_bytes, corners_from_bytes, is_header, scale_from_bytes
from sacroplasty.io.raw import Array, RawImage, raw_from_affine
from sacroplasty.io.storage import RAS_TO_LPS
from sacroplasty.io.verdict import Remark, rejected
from sacroplasty.space import Grid, LabelMap, Mask, Points, Volume

# A larger file than this, after decompression, is not one CT of a pelvis.
MAXIMUM_BYTES = 3_000_000_000
# Corners further apart than this under sform and qform are a conflict, mm.
FORM_TOLERANCE_MM = 0.1
# Code of a plain comment among NIfTI header extensions.
_COMMENT = 6
_LABEL_ELEMENT = re.compile(r'<Label[^>]*\bKey="(\d{1,5})"[^>]*>\s*(?:<!\[CDATA\[)?([\w .-]{1,80})')

Image = TypeVar("Image", Volume, Mask, LabelMap)


def load_nifti(path: Path) -> RawImage:
    """The slices of a NIfTI-1 or -2 file, with every doubt about its geometry said."""
    raw = _inflated(path)
    image = _parsed(raw, path.name)
    shape = _spatial_shape(image)
    affine = _trusted_affine(image.header, shape)
    own = _own_comment(image.header)
    about = {
        "format": "NIfTI",
        "frame_of_reference_uid": str(own.get("frame_of_reference_uid", "")),
        "label_names": json.dumps(own.get("names") or _caret_names(image.header)),
    }
    return raw_from_affine(
        _scaled(image, raw).reshape(shape),
        affine,
        remarks=_unit_remarks(image.header),
        about=about,
        second_corners_mm=corners_from_bytes(raw),
    )


def _inflated(path: Path) -> bytes:
    """The file's bytes, decompressed no further than its header announces; gzip's checksum is verified first."""
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    pieces: list[bytes] = []
    total, budget = 0, MAXIMUM_BYTES
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            while piece := stream.read(1 << 20):
                if not pieces:
                    budget = min(budget, announced_bytes(piece))
                total += len(piece)
                if total > budget:
                    what = "The file unpacks to more than its header announces, or more than any CT"
                    raise rejected("SAC-G004", what, got=f"over {total // 10**6} MB")
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise rejected(
            "SAC-G003", f"{path.name} is damaged", got=str(error), remedy="Copy or export it again"
        ) from error
    return b"".join(pieces)


def _parsed(raw: bytes, name: str) -> Any:
    import nibabel as nib  # here: a child process that parses another format need not wait for it

    for kind in () if not is_header(raw) else (nib.Nifti1Image, nib.Nifti2Image):
        try:
            return kind.from_bytes(raw)
        except MemoryError:
            raise
        except Exception:  # nibabel raises many kinds on damaged headers
            continue
    raise rejected("SAC-G003", f"{name} is not a readable NIfTI image", remedy="Export it again as .nii or .nii.gz")


def _spatial_shape(image: Any) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in image.shape)
    dtype = image.get_data_dtype()
    scalar = dtype.fields is None and dtype.kind in "iuf"
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or not scalar:
        raise rejected(
            "SAC-G044",
            "The file does not hold one scalar 3-D image",
            got=f"shape {shape}, type {dtype}",
            remedy="Save the one volume that is meant",
        )
    if min(shape) < 1:
        raise rejected("SAC-G003", "The image has no voxels", got=f"shape {shape}")
    return shape[0], shape[1], shape[2]


def _trusted_affine(header: Any, shape: tuple[int, int, int]) -> Points:
    """Voxel-to-LPS from sform or qform; both must agree where both are given, and one must be given."""
    sform, sform_code = header.get_sform(coded=True)
    try:
        qform, qform_code = header.get_qform(coded=True)
    except Exception as error:  # nibabel raises several kinds on impossible quaternions
        raise rejected("SAC-G021", "The qform is not a rotation", got=str(error), remedy="Export it again") from error
    forms = [RAS_TO_LPS @ form for form, code in ((sform, sform_code), (qform, qform_code)) if code > 0]
    if not forms:
        raise rejected(
            "SAC-G041",
            "The image says neither by sform nor by qform how it lies in the patient",
            remedy="Export it again from the DICOM series",
        )
    for form in forms:
        if not np.isfinite(form).all() or abs(np.linalg.det(form[:3, :3])) < 1e-12:
            raise rejected(
                "SAC-G021",
                "The orientation is not finite or not spanning space",
                got=np.array2string(form.ravel(), precision=4),
            )
    if len(forms) == 2:
        index = np.array([(i, j, k) for k in (0, shape[2] - 1) for j in (0, shape[1] - 1) for i in (0, shape[0] - 1)])
        apart = np.abs((index @ (forms[0] - forms[1])[:3, :3].T) + (forms[0] - forms[1])[:3, 3]).max()
        if apart > FORM_TOLERANCE_MM:
            raise rejected(
                "SAC-G040",
                "sform and qform place the image differently",
                got=f"{apart:.1f} mm apart",
                remedy="Export the image again from DICOM, or copy the right form over the other",
            )
    return np.asarray(forms[0])


def _unit_remarks(header: Any) -> tuple[Remark, ...]:
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        unit = "not a known code"
    if unit == "mm":
        return ()
    if unit == "unknown":
        return (Remark("SAC-G042", "The file does not state its unit of length; millimetres are assumed."),)
    raise rejected("SAC-G043", "The image's unit of length is not mm", got=unit, remedy="Convert it to millimetres")


def _scaled(image: Any, raw: bytes) -> Array:
    """Voxel values with slope and intercept applied; a slope of NaN or 0 means none, as the standard says."""
    slope, intercept = scale_from_bytes(raw)
    if np.isnan(slope) or slope == 0.0:
        slope, intercept = 1.0, 0.0
    if not np.isfinite([slope, intercept]).all() or abs(slope) > 1e4 or abs(intercept) > 1e5:
        got, remedy = f"slope {slope:g}, intercept {intercept:g}", "Convert the image from DICOM again"
        raise rejected("SAC-G030", "The rescale rule is not plausible", got=got, remedy=remedy)
    _require_exact_length(image, raw)
    try:
        stored = np.asarray(image.dataobj.get_unscaled())
    except (OSError, ValueError) as error:
        remedy = "Copy or export it again"
        raise rejected("SAC-G003", "The voxels cannot be read", got=str(error)[:120], remedy=remedy) from error
    if slope == 1.0 and intercept == 0.0:
        return stored
    return np.asarray(stored.astype(np.float32) * np.float32(slope) + np.float32(intercept))


def _require_exact_length(image: Any, raw: bytes) -> None:
    """The file must end with its last voxel: where it goes on, bytes were put in and the voxels may be shifted."""
    voxels = float(np.prod([float(n) for n in image.shape])) * image.get_data_dtype().itemsize
    announced = float(image.dataobj.offset) + voxels
    if announced != len(raw):
        what = (
            "The image ends before its last voxel" if announced > len(raw) else "The file goes on after its last voxel"
        )
        got, remedy = f"{len(raw)} bytes, {announced:.0f} announced", "Copy or export it again"
        raise rejected("SAC-G003", what, got=got, remedy=remedy)


def _own_comment(header: Any) -> dict[str, Any]:
    """What `write_nifti` noted in the header: names, kind, unit, frame of reference and the exact matrix."""
    for extension in header.extensions:
        if extension.get_code() != _COMMENT:
            continue
        try:
            note = json.loads(bytes(extension.get_content()).rstrip(b"\0").decode("utf-8"))
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(note, dict) and isinstance(note.get("sacroplasty"), dict):
            return dict(note["sacroplasty"])
    return {}


def _caret_names(header: Any) -> dict[str, str]:
    """Label names that TotalSegmentator and Connectome Workbench keep in the header; read without an XML parser."""
    for extension in header.extensions:
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        if "<Label" in text:
            return {key: name.strip() for key, name in _LABEL_ELEMENT.findall(text)}
    return {}


def write_nifti(image: Volume | Mask | LabelMap, path: str | os.PathLike[str]) -> Path:
    """Write an image as .nii or .nii.gz (atomically, same bytes for the same image); names and frame ride along."""
    target = Path(path)
    if not target.name.endswith((".nii", ".nii.gz")):
        raise InputError("A NIfTI file must end in .nii or .nii.gz", got=target.name)
    import nibabel as nib

    array = image.array.astype(np.uint8) if isinstance(image, Mask) else image.array
    nifti = nib.Nifti1Image(array, RAS_TO_LPS @ image.grid.affine_lps)
    nifti.set_sform(nifti.affine, 1)
    nifti.set_qform(nifti.affine, 1)
    if np.abs(nifti.get_qform() - nifti.affine).max() > 1e-3:
        # A quaternion cannot say a shear: leave the sform as the only statement.
        nifti.set_qform(None, 0)
    nifti.header.set_xyzt_units("mm")
    note: dict[str, Any] = {
        "kind": type(image).__name__,
        "affine_lps": image.grid.affine_lps.tolist(),
        "frame_of_reference_uid": image.grid.frame_of_reference_uid,
    }
    if isinstance(image, Volume):
        note["unit"] = image.unit
    if isinstance(image, LabelMap):
        note["names"] = {str(value): name for value, name in sorted(image.names.items())}
    text = json.dumps({"sacroplasty": note}, sort_keys=True, allow_nan=False)
    nifti.header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, text.encode()))
    content = nifti.to_bytes()
    if target.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=4, mtime=0)
    return write_atomically(target, lambda stream: stream.write(content))


def read_nifti_array(path: str | os.PathLike[str]) -> Array:
    """The voxels of a NIfTI file of this program as they are stored, for values whose grid is kept elsewhere."""
    source = Path(path)
    if not source.is_file():
        raise InputError("The image is missing", got=source.name)
    return np.asarray(_parsed(_inflated(source), source.name).dataobj)


def read_nifti(path: str | os.PathLike[str], kind: type[Image]) -> Image:
    """An image that `write_nifti` wrote, as it was: array, exact matrix, names, unit. Raises InputError otherwise."""
    source = Path(path)
    if not source.is_file():
        raise InputError("The image is missing", got=source.name)
    nifti = _parsed(_inflated(source), source.name)
    note = _own_comment(nifti.header)
    if note.get("kind") != kind.__name__:
        raise InputError(
            f"{source.name} is not a {kind.__name__} of this program",
            got=str(note.get("kind", "no note in the header")),
            remedy="Use read_ct, read_labels or read_mask for images from elsewhere",
        )
    array = np.asarray(nifti.dataobj)
    grid = Grid.from_affine(_spatial_shape(nifti), note["affine_lps"], note["frame_of_reference_uid"])
    return cast(Image, _rebuilt(note, array, grid))


def _rebuilt(note: dict[str, Any], array: Array, grid: Grid) -> Volume | Mask | LabelMap:
    if note["kind"] == "Volume":
        return Volume(array, grid, note["unit"])
    if note["kind"] == "Mask":
        return Mask(array.astype(np.bool_), grid)
    return LabelMap(array.astype(np.uint16), grid, {int(value): name for value, name in note["names"].items()})
