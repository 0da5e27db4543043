"""NRRD and Slicer's .seg.nrrd in and out."""

from __future__ import annotations

import colorsys
import io
import json
import os
import stat
from collections import OrderedDict
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from sacroplasty.errors import InputError
from sacroplasty.io.atomic import write_atomically
from sacroplasty.io.nrrd_header import corners_from_text
from sacroplasty.io.raw import Array, RawImage, raw_from_affine
from sacroplasty.io.storage import RAS_TO_LPS
from sacroplasty.io.verdict import Remark, rejected
from sacroplasty.space import LabelMap, Mask, Points, Volume

_LAS_TO_LPS = np.diag([1.0, -1.0, 1.0, 1.0])
_SPACES = {
    "left-posterior-superior": np.eye(4), "lps": np.eye(4),
    "right-anterior-superior": RAS_TO_LPS, "ras": RAS_TO_LPS,
    "left-anterior-superior": _LAS_TO_LPS, "las": _LAS_TO_LPS,
}  # fmt: skip
MAXIMUM_BYTES = 3_000_000_000


def load_nrrd(path: Path) -> RawImage:
    """The slices of an NRRD file of one scalar 3-D image."""
    header, array = parse_nrrd(path)
    if array.ndim != 3 or array.dtype.kind not in "iuf":
        raise rejected(
            "SAC-G044",
            "The file does not hold one scalar 3-D image",
            got=f"shape {array.shape}, type {array.dtype}",
            remedy="Save the one volume that is meant",
        )
    about = {"format": "NRRD", "label_names": json.dumps({v: n for v, n, _ in segments_of(header)})}
    return raw_from_affine(
        array,
        affine_of(header),
        remarks=unit_remarks(header),
        about=about,
        second_corners_mm=corners_from_text(path),
    )


def parse_nrrd(path: Path) -> tuple[dict[str, Any], Array]:
    """Header and array (axes in file order, fastest first); detached data only by a bare name in the same folder."""
    try:
        header = dict(nrrd.read_header(str(path)))
        _require_near_data(header, path)
        _require_size(header)
        array, header = nrrd.read(str(path), index_order="F")
    except (MemoryError, InputError):
        raise
    except Exception as error:  # pynrrd raises many kinds on damaged files
        if getattr(error, "code", "").startswith("SAC-"):
            raise
        raise rejected(
            "SAC-G003", f"{path.name} is not a readable NRRD file", got=str(error)[:200], remedy="Export it again"
        ) from error
    return dict(header), np.asarray(array)


def _require_near_data(header: dict[str, Any], path: Path) -> None:
    name = header.get("data file", header.get("datafile"))
    if name is None:
        return
    near = path.parent / str(name)
    bare = isinstance(name, str) and name == os.path.basename(name) and name not in {"", ".", ".."}
    if not bare or not near.exists() or not stat.S_ISREG(os.lstat(near).st_mode):
        raise rejected(
            "SAC-G051",
            "The header names data outside its own folder, or data that is not a plain file",
            got=str(name)[:80],
            remedy="Save header and data in one .nrrd file",
        )


def _require_size(header: dict[str, Any]) -> None:
    sizes = [int(n) for n in np.atleast_1d(header.get("sizes", []))]
    if not sizes or min(sizes) < 1:
        raise rejected("SAC-G003", "The NRRD header has no usable sizes", got=str(sizes))
    if np.prod(np.asarray(sizes, dtype=np.float64)) * 2 > MAXIMUM_BYTES:
        raise rejected("SAC-G004", "The header announces more voxels than any CT", got=" x ".join(map(str, sizes)))


def affine_of(header: dict[str, Any]) -> Points:
    """Voxel-to-LPS of the three spatial axes; the header must say its space."""
    space = str(header.get("space", "")).strip().lower()
    if space not in _SPACES or "space directions" not in header or "space origin" not in header:
        raise rejected(
            "SAC-G050",
            "The NRRD header does not say how the image lies in the patient",
            got=space or "no space",
            remedy="Save it from a program that writes `space: left-posterior-superior`, directions and origin",
        )
    rows = np.asarray(header["space directions"], dtype=np.float64)
    spatial = rows[np.isfinite(rows).all(axis=1)] if rows.ndim == 2 else np.empty((0, 3))
    origin = np.asarray(header["space origin"], dtype=np.float64)
    if spatial.shape != (3, 3) or origin.shape != (3,) or not np.isfinite(origin).all():
        raise rejected(
            "SAC-G021", "Space directions or origin are not three finite vectors", got=str(rows.tolist())[:120]
        )
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = spatial.T, origin
    return np.asarray(_SPACES[space] @ affine)


def unit_remarks(header: dict[str, Any]) -> tuple[Remark, ...]:
    """Nothing where units are mm or, as Slicer leaves them, absent; other units are refused."""
    units = {str(u).strip('" ').lower() for u in np.atleast_1d(header.get("space units", []))} - {"", "mm", "nan"}
    if units - {"millimeter", "millimeters", "millimetre"}:
        raise rejected(
            "SAC-G043", "The image's unit of length is not mm", got=", ".join(sorted(units)), remedy="Convert it"
        )
    return ()


def segments_of(header: dict[str, Any]) -> list[tuple[int, str, int]]:
    """(label value, name, layer) of every segment of a .seg.nrrd header."""
    found = []
    for n in range(10_000):
        if f"Segment{n}_LabelValue" not in header:
            break
        name = str(header.get(f"Segment{n}_Name", header.get(f"Segment{n}_ID", f"segment {n}")))
        try:
            found.append((int(header[f"Segment{n}_LabelValue"]), name, int(header.get(f"Segment{n}_Layer", 0))))
        except ValueError as error:
            what = "A segment's label value or layer is not a number"
            raise rejected("SAC-G003", what, got=name[:80]) from error
    return found


def write_nrrd(image: Volume | Mask | LabelMap, path: str | os.PathLike[str]) -> Path:
    """Write an image as .nrrd in LPS mm; a mask or label map whose name ends in .seg.nrrd as Slicer segments."""
    target = Path(path)
    if not target.name.endswith(".nrrd"):
        raise InputError("An NRRD file must end in .nrrd", got=target.name)
    array = image.array.astype(np.uint8) if isinstance(image, Mask) else image.array
    header: OrderedDict[str, Any] = OrderedDict(
        {
            "space": "left-posterior-superior",
            "kinds": ["domain", "domain", "domain"],
            "space directions": image.grid.affine_lps[:3, :3].T,
            "space origin": image.grid.affine_lps[:3, 3],
            "encoding": "gzip",
        }
    )
    if target.name.endswith(".seg.nrrd"):
        if isinstance(image, Volume):
            raise InputError("A volume is not a segmentation", got=target.name, remedy="Name it .nrrd")
        names = {1: target.name.removesuffix(".seg.nrrd")} if isinstance(image, Mask) else dict(image.names)
        header.update(_segment_fields(array, names))
    buffer = io.BytesIO()
    nrrd.write(buffer, np.asarray(array), header, compression_level=4, index_order="F")
    content = buffer.getvalue()
    return write_atomically(target, lambda stream: stream.write(_without_clock(content)))


def _segment_fields(array: Array, names: dict[int, str]) -> OrderedDict[str, str]:
    """Slicer's SegmentN fields: one layer, colours spread over the hue circle by label value."""
    fields: OrderedDict[str, str] = OrderedDict()
    extent = " ".join(f"0 {n - 1}" for n in array.shape)
    fields["Segmentation_MasterRepresentation"] = "Binary labelmap"
    fields["Segmentation_ContainedRepresentationNames"] = "Binary labelmap|"
    fields["Segmentation_ReferenceImageExtentOffset"] = "0 0 0"
    for n, (value, name) in enumerate(sorted(names.items())):
        red, green, blue = colorsys.hsv_to_rgb((value * 0.618) % 1.0, 0.6, 0.9)
        fields[f"Segment{n}_ID"] = f"Segment_{value}"
        fields[f"Segment{n}_Name"] = name
        fields[f"Segment{n}_NameAutoGenerated"] = "0"
        fields[f"Segment{n}_Color"] = f"{red:.3f} {green:.3f} {blue:.3f}"
        fields[f"Segment{n}_ColorAutoGenerated"] = "0"
        fields[f"Segment{n}_LabelValue"] = str(value)
        fields[f"Segment{n}_Layer"] = "0"
        fields[f"Segment{n}_Extent"] = extent
        fields[f"Segment{n}_Tags"] = "Segmentation.Status:inprogress|"
    return fields


def _without_clock(content: bytes) -> bytes:
    """The file without pynrrd's comment of the hour it was written, so that equal images give equal bytes."""
    head, gap, data = content.partition(b"\n\n")
    lines = [line for line in head.split(b"\n") if not line.startswith(b"# on ")]
    return b"\n".join(lines) + gap + data
