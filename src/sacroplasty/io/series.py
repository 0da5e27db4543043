"""One image series, read and judged: the volume, the verdict, the remarks and where it came from."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np

from sacroplasty.errors import GeometryError
from sacroplasty.io.archive import ENDINGS, unpacked
from sacroplasty.io.gate import checked_geometry, checked_values, require_agreement, without_padding
from sacroplasty.io.isolation import isolated
from sacroplasty.io.raw import RawImage, shrunk
from sacroplasty.io.resample import evenly_spaced, without_tilt
from sacroplasty.io.storage import canonical
from sacroplasty.io.verdict import Remark, Verdict, rejected, worst
from sacroplasty.space import Grid, Volume


@dataclass(frozen=True, eq=False)
class ImageSeries:
    """A volume that passed the gate, with the verdict, every remark and the provenance.

    `provenance` holds format, sha256 (see `fingerprint`), storage (order in the file, e.g. "RPS"),
    frame_of_reference_uid, study_uid, series_uid, patient_position, patient_fingerprint (no name), files, verdict and
    remarks: what must stay with a plan made on this image.
    """

    volume: Volume
    modality: str
    verdict: Verdict
    remarks: tuple[Remark, ...]
    provenance: Mapping[str, Any]

    @property
    def warnings(self) -> tuple[Remark, ...]:
        """Remarks that must be acknowledged and stay with the plan."""
        return tuple(r for r in self.remarks if r.verdict is Verdict.WARN)

    def require_acknowledged(self, codes: Iterable[str]) -> ImageSeries:
        """This series, or GeometryError naming the warnings whose codes are not among `codes` ("all" covers all)."""
        known = set(codes)
        left = [w for w in self.warnings if "all" not in known and w.code not in known]
        if left:
            raise rejected(
                "SAC-G080",
                "The scan has warnings that nobody has acknowledged",
                got=" ".join(f"{w.code}: {w.message}" for w in left),
                remedy="Read them, then acknowledge " + ",".join(sorted({w.code for w in left})),
            )
        return self


def read_series(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    modality: str = "CT",
    acknowledge: Iterable[str] | None = None,
    resample_irregular: bool = False,
    resample_tilted: bool = False,
) -> ImageSeries:
    """The one image at a path (DICOM folder or file, .zip, .tar, .nii, .nii.gz, .nrrd), judged by the geometry gate.

    Parsed in a child process with limits. `series` chooses a DICOM series or stack by the identifier that `inspect`
    lists; `modality` is "CT" or "MR". With `acknowledge`, warnings whose codes are not in it raise; without, they are
    in `warnings` and in `provenance`, which goes into the case. Raises InputError or GeometryError (code SAC-G0xx)
    where the gate rejects.
    """
    source = Path(path)
    file_kind(source)
    raw = isolated("load", source, series=series, modality=modality)
    assert isinstance(raw, RawImage)
    judged = judge(
        replace(raw, modality=raw.modality or modality),
        resample_irregular=resample_irregular,
        resample_tilted=resample_tilted,
    )
    return judged if acknowledge is None else judged.require_acknowledged(acknowledge)


def read_ct(path: str | os.PathLike[str], *, series: str | None = None, acknowledge: Iterable[str] = ()) -> Volume:
    """The CT at a path in HU, axes near +left, +posterior, +superior; world unchanged.

    A bare volume cannot carry warnings, so every one must be acknowledged by its code ("all" covers all) or this
    raises GeometryError SAC-G080 that names them; `read_series` returns them beside the volume instead.
    """
    return read_series(path, series=series, acknowledge=acknowledge).volume


def load(path: Path, series: str | None = None, modality: str | None = None) -> RawImage:
    """The raw slices at a path, by what the file is, not by what the caller hopes. Runs in the child process."""
    kind = file_kind(path)
    if kind == "archive":
        with TemporaryDirectory(prefix="sacroplasty-") as folder:
            unpacked(path, Path(folder))
            inner = sorted(Path(folder).iterdir())
            return load(inner[0] if len(inner) == 1 else Path(folder), series, modality)
    if kind == "nifti":
        from sacroplasty.io.nifti import load_nifti

        return load_nifti(path)
    if kind == "nrrd":
        from sacroplasty.io.nrrd import load_nrrd

        return load_nrrd(path)
    from sacroplasty.io.dicom import load_dicom

    return load_dicom(path, series, modality)


def file_kind(path: Path) -> str:
    """nifti, nrrd, archive or dicom; refuses what is missing, not a plain file or folder, or of no known kind."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        what = "There is nothing at this path"
        raise rejected("SAC-G001", what, got=path.name or str(path), remedy="Check the path") from error
    if stat.S_ISDIR(mode):
        return "dicom"
    if not stat.S_ISREG(mode):
        what = "This is neither a plain file nor a folder"
        raise rejected("SAC-G002", what, got=path.name, remedy="Give a file or folder")
    name = path.name.lower()
    for kind, endings in (("nifti", (".nii", ".nii.gz")), ("nrrd", (".nrrd",)), ("archive", ENDINGS)):
        if name.endswith(endings):
            return kind
    with path.open("rb") as stream:
        if stream.read(132)[128:] == b"DICM":
            return "dicom"
    raise rejected(
        "SAC-G005",
        "The file is not an image this program reads",
        got=path.name,
        remedy="Give a DICOM folder, .zip, .nii, .nii.gz or .nrrd",
    )


def judge(raw: RawImage, *, resample_irregular: bool = False, resample_tilted: bool = False) -> ImageSeries:
    """The gate: geometry, values, canonical storage, fingerprint."""
    raw = without_padding(replace(raw, array=shrunk(raw.array)))
    values = checked_values(raw)
    if resample_tilted:
        raw = _resampled(raw, "SAC-G023")
    if resample_irregular:
        raw = _resampled(raw, "SAC-G024")
    geometry = checked_geometry(raw)
    array, affine, storage = canonical(raw.array, raw.affine_lps)
    i, j, k = array.shape
    uid = raw.about.get("frame_of_reference_uid", "")
    volume = Volume(array, Grid.from_affine((i, j, k), affine, uid), "HU" if raw.modality == "CT" else "1")
    remarks = (*raw.remarks, *geometry, *values)
    provenance = {
        **{key: value for key, value in raw.about.items() if key != "label_names"},
        "modality": raw.modality,
        "sha256": fingerprint(volume),
        "storage": storage.letters,
        "verdict": worst(remarks).value,
        "remarks": [{"code": r.code, "message": r.message} for r in remarks],
    }
    return ImageSeries(volume, raw.modality, worst(remarks), remarks, MappingProxyType(provenance))


def _resampled(raw: RawImage, code: str) -> RawImage:
    """The raw image resampled, if the gate refuses it for the reason of `code`; unchanged if it does not."""
    try:
        checked_geometry(raw)
    except GeometryError as error:
        if error.code == code or (code == "SAC-G024" and error.code == "SAC-G025"):
            require_agreement(raw)
            return without_tilt(raw) if code == "SAC-G023" else evenly_spaced(raw)
        if code != "SAC-G023" or error.code not in {"SAC-G024", "SAC-G025"}:
            raise
    return raw


def fingerprint(volume: Volume) -> str:
    """sha256 of values, shape, matrix to 1e-4 mm and frame of reference.

    Taken in canonical storage order, so the same world has the same fingerprint however it was stored.
    """
    digest = hashlib.sha256()
    grid = volume.grid
    digest.update(f"{volume.array.dtype.str}|{grid.shape}|{grid.frame_of_reference_uid}|".encode())
    digest.update(np.rint(grid.affine_lps * 1e4).astype("<i8").tobytes())
    digest.update(np.ascontiguousarray(volume.array).data)
    return digest.hexdigest()
