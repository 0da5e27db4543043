"""Over a hundred NIfTI, NRRD and archive files: the same world, worlds to refuse, worlds to warn about, and traps."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np

from sacroplasty.space import Volume

Build = Callable[[Path, Volume], Path]
CASES: dict[str, tuple[str, Build]] = {}
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def case(expect: str, name: str) -> Callable[[Build], Build]:
    """Register a file builder."""

    def keep(build: Build) -> Build:
        assert name not in CASES
        CASES[name] = (expect, build)
        return build

    return keep


def image(ct: Volume, array: Any = None, affine: Any = None, kind: Any = nib.Nifti1Image) -> Any:
    """A NIfTI image made by nibabel, not by us."""
    made = kind(
        np.asarray(ct.array if array is None else array), TO_RAS @ ct.grid.affine_lps if affine is None else affine
    )
    made.set_sform(made.affine, 1)
    made.set_qform(made.affine, 1)
    made.header.set_xyzt_units("mm")
    return made


def nifti(expect: str, name: str, edit: Callable[[Any, Volume], Any], ending: str = ".nii") -> None:
    """A NIfTI file whose image is edited before it is saved."""

    def build(folder: Path, ct: Volume) -> Path:
        path = folder / f"ct{ending}"
        nib.save(edit(image(ct), ct), path)
        return path

    case(expect, f"NIfTI {name}")(build)


def header(**values: Any) -> Callable[[Any, Volume], Any]:
    """Set raw header fields."""

    def edit(made: Any, ct: Volume) -> Any:
        for key, value in values.items():
            made.header[key] = value
        return made

    return edit


def form(change: Callable[[Any], Any], sform: bool = True, qform: bool = True) -> Callable[[Any, Volume], Any]:
    """Change the matrix in sform, qform or both."""

    def edit(made: Any, ct: Volume) -> Any:
        affine = change(np.array(made.affine))
        if sform:
            made.header.set_sform(affine, 1)
        if qform:
            made.header.set_qform(affine, 1)
        again = type(made)(np.asarray(made.dataobj), None, made.header)
        again.header["sform_code"], again.header["qform_code"] = made.header["sform_code"], made.header["qform_code"]
        return again

    return edit


def patched(expect: str, name: str, change: Callable[[bytearray], bytes | bytearray], ending: str = ".nii") -> None:
    """A NIfTI file changed as bytes after saving; gzip is put around the changed bytes."""

    def build(folder: Path, ct: Volume) -> Path:
        path = folder / f"ct{ending}"
        raw = bytes(change(bytearray(image(ct).to_bytes())))
        path.write_bytes(gzip.compress(raw) if ending.endswith(".gz") else raw)
        return path

    case(expect, f"NIfTI {name}")(build)


def at(offset: int, kind: str, *values: float) -> Callable[[bytearray], bytearray]:
    """Write numbers at an offset of the header."""

    def change(raw: bytearray) -> bytearray:
        content = np.array(values, dtype=kind).tobytes()
        raw[offset : offset + len(content)] = content
        return raw

    return change


def scaled(factor: float) -> Callable[[Any], Any]:
    """The matrix in another unit of length."""
    return lambda affine: np.diag([factor, factor, factor, 1.0]) @ affine


def turned(order: tuple[int, int, int], signs: tuple[int, int, int]) -> Callable[[Any, Volume], Any]:
    """The same world along other axes, turned by nibabel."""
    return lambda made, ct: made.as_reoriented(np.array([[o, s] for o, s in zip(order, signs, strict=True)], float))


same = lambda made, ct: made  # noqa: E731
for ending in (".nii", ".nii.gz"):
    nifti("equal", f"plain {ending}", same, ending)
nifti("equal", "version 2", lambda made, ct: image(ct, kind=nib.Nifti2Image))
nifti("equal", "float32", lambda made, ct: image(ct, ct.array.astype(np.float32)))
nifti("equal", "float64", lambda made, ct: image(ct, ct.array.astype(np.float64)))
nifti("equal", "int32", lambda made, ct: image(ct, ct.array.astype(np.int32)))
nifti(
    "equal", "big endian", lambda made, ct: image(ct).__class__(ct.array, made.affine, made.header.as_byteswapped(">"))
)
nifti("equal", "one volume in 4-D", lambda made, ct: image(ct, ct.array[..., None]))
nifti("equal", "sform only", header(qform_code=0))
nifti("equal", "qform only", header(sform_code=0))
nifti("equal", "scanner and aligned codes", header(qform_code=1, sform_code=2))
nifti("equal", "description hostile", header(descrip=b"<script>alert(1)</script>"))
for order, signs in (
    ((0, 1, 2), (-1, 1, 1)), ((0, 1, 2), (1, -1, 1)), ((0, 1, 2), (-1, -1, -1)), ((2, 1, 0), (1, 1, 1)),
    ((1, 2, 0), (1, -1, 1)), ((2, 0, 1), (-1, 1, -1)),
):  # fmt: skip
    nifti("equal", f"stored {order} {signs}", turned(order, signs))
patched("equal", "slope one, intercept zero", at(112, "<f4", 1, 0))
patched("equal", "slope zero means none", at(112, "<f4", 0, 0))
patched("equal", "slope not a number means none", at(112, "<f4", np.nan, np.nan))


@case("equal", "NIfTI unsigned with intercept")
def _unsigned(folder: Path, ct: Volume) -> Path:
    made = image(ct, (ct.array.astype(np.int32) + 1024).astype(np.uint16))
    raw = at(112, "<f4", 1, -1024)(bytearray(made.to_bytes()))
    (folder / "ct.nii").write_bytes(raw)
    return folder / "ct.nii"


nifti("warn", "unit not stated", lambda made, ct: header(xyzt_units=0)(made, ct))
nifti("warn", "thick slices", lambda made, ct: image(ct, None, made.affine @ np.diag([1, 1, 1.6, 1])))
nifti("warn", "small field of view", lambda made, ct: image(ct, ct.array[:, :, :10]))
nifti("warn", "no air", lambda made, ct: image(ct, np.maximum(ct.array, -150)))
nifti("reject", "left and right differ", form(lambda a: np.diag([-1, 1, 1, 1]) @ a, qform=False))
nifti("reject", "forms 5 mm apart", form(lambda a: a + np.array([[0, 0, 0, 5]] + [[0] * 4] * 3), sform=False))
ONE_DEGREE = np.array([[1, -0.0175, 0, 0], [0.0175, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
nifti("reject", "forms turned by one degree", form(lambda a: ONE_DEGREE @ a, qform=False))
nifti("reject", "units metres", lambda made, ct: header(xyzt_units=1)(form(scaled(1e-3))(made, ct), ct))
nifti("reject", "units micrometres", lambda made, ct: header(xyzt_units=3)(form(scaled(1e3))(made, ct), ct))
nifti("reject", "units metres, numbers in mm", header(xyzt_units=1))
nifti("reject", "units unknown code", header(xyzt_units=7))
nifti("reject", "matrix in metres, said to be mm", form(scaled(1e-3)))
nifti("reject", "matrix in cm, said to be mm", form(scaled(0.1 / 2.5)))
nifti("reject", "matrix in micrometres, said to be mm", form(scaled(1e3)))
nifti("reject", "sheared", lambda made, ct: header(qform_code=0)(image(
    ct, None, made.affine @ np.array([[1, 0, 0.3, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])), ct))  # fmt: skip
nifti("reject", "sheared in plane", lambda made, ct: header(qform_code=0)(image(
    ct, None, made.affine @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])), ct))  # fmt: skip
nifti("reject", "two volumes", lambda made, ct: image(ct, np.stack([ct.array] * 2, axis=-1)))
nifti("reject", "vector per voxel", lambda made, ct: image(ct, np.stack([ct.array] * 3, -1)[:, :, :, None]))
nifti("reject", "two-dimensional", lambda made, ct: image(ct, ct.array[:, :, 0]))
nifti("reject", "one slice", lambda made, ct: image(ct, ct.array[:, :, :1]))
nifti("reject", "complex", lambda made, ct: image(ct, ct.array.astype(np.complex64)))
nifti("reject", "colour", lambda made, ct: image(
    ct, np.zeros(ct.array.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])))  # fmt: skip
nifti("reject", "voxels not finite", lambda made, ct: image(ct, np.where(ct.array > 300, np.nan, ct.array)))
nifti("reject", "voxels infinite", lambda made, ct: image(ct, np.where(ct.array > 300, np.inf, ct.array)))
nifti("reject", "1024 too much", lambda made, ct: image(ct, ct.array + np.int16(1024)))
nifti("reject", "scaled to 0..1", lambda made, ct: image(ct, (ct.array.astype(np.float32) + 1000) / 1500))
nifti("reject", "scaled to 0..255", lambda made, ct: image(ct, ((ct.array.astype(int) + 1000) // 6).astype(np.uint8)))
nifti("reject", "all zero", lambda made, ct: image(ct, np.zeros_like(ct.array)))
nifti("reject", "noise", lambda made, ct: image(
    ct, np.random.default_rng(1).integers(-30000, 30000, ct.array.shape).astype(np.int16)))  # fmt: skip
nifti("reject", "voxels of 12 mm", lambda made, ct: image(ct, None, made.affine @ np.diag([4.8, 4.8, 4.8, 1])))
nifti("reject", "voxels of 0.05 mm", lambda made, ct: image(ct, None, made.affine @ np.diag([0.02, 0.02, 0.02, 1])))
patched("reject", "no form at all", at(252, "<i2", 0, 0))
patched("reject", "sform not finite", at(280, "<f4", np.nan))
patched("reject", "sform infinite", at(292, "<f4", np.inf))
patched("reject", "sform zero", at(280, "<f4", *[0.0] * 12))
patched("reject", "quaternion not unit", at(256, "<f4", 3, 3, 3))
patched("reject", "slope infinite", at(112, "<f4", np.inf, 0))
patched("reject", "slope huge", at(112, "<f4", 1e30, 0))
patched("reject", "intercept huge", at(112, "<f4", 1, 1e30))
patched("reject", "dimension negative", at(42, "<i2", -44))
patched("reject", "dimension zero", at(42, "<i2", 0))
patched("reject", "dimensions of 32767", at(42, "<i2", 32767, 32767, 32767))
patched("reject", "number of dimensions 99", at(40, "<i2", 99))
patched("reject", "data type unknown", at(70, "<i2", 9999))
patched("reject", "bits and type disagree", at(70, "<i2", 64, 64))
patched("reject", "magic missing", lambda raw: raw[:344] + b"\0\0\0\0" + raw[348:])
patched("reject", "header size wrong", at(0, "<i4", 349))
patched("reject", "offset beyond the end", at(108, "<f4", 1e9))
patched("reject", "offset negative", at(108, "<f4", -100))
patched("reject", "offset not a number", at(108, "<f4", np.nan))
patched("reject", "last voxel missing", lambda raw: raw[:-2])
patched("reject", "a byte after the last voxel", lambda raw: raw + b"\0")
patched("reject", "bytes put in, so that voxels are shifted", lambda raw: raw[:352] + b"\0" * 12 + raw[352:])
patched(
    "reject",
    "offset too small, so that voxels are shifted",
    lambda raw: at(108, "<f4", 352)(raw[:352] + b"\0" * 12 + raw[352:]),
)
patched("reject", "gz with bytes after the last voxel", lambda raw: raw + b"\0\0", ".nii.gz")
patched("reject", "half missing", lambda raw: raw[: len(raw) // 2])
patched("reject", "header only", lambda raw: raw[:352])
patched("reject", "half a header", lambda raw: raw[:170])
patched("reject", "empty", lambda raw: b"")
patched("reject", "text", lambda raw: b"this is not an image" * 100)
patched("reject", "random", lambda raw: np.random.default_rng(2).bytes(len(raw)))


def gz(expect: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """A .nii.gz whose compressed bytes are changed."""

    def build(folder: Path, ct: Volume) -> Path:
        path = folder / "ct.nii.gz"
        path.write_bytes(change(gzip.compress(image(ct).to_bytes())))
        return path

    case(expect, f"NIfTI {name}")(build)


def flipped(raw: bytes, place: int, bit: int = 1) -> bytes:
    """One bit turned."""
    made = bytearray(raw)
    made[place] ^= bit
    return bytes(made)


gz("reject", "gz with a turned bit in the middle", lambda raw: flipped(raw, len(raw) // 2))
gz("reject", "gz with a turned bit in the checksum", lambda raw: flipped(raw, len(raw) - 6))
gz("reject", "gz with a wrong length", lambda raw: flipped(raw, len(raw) - 1))
gz("reject", "gz cut", lambda raw: raw[: len(raw) * 3 // 4])
gz("reject", "gz without its end", lambda raw: raw[:-8])
gz("reject", "gz around gz", gzip.compress)
gz("equal", "gz in two parts", lambda raw: (lambda plain: gzip.compress(plain[:999]) + gzip.compress(plain[999:]))(
    gzip.decompress(raw)))  # fmt: skip


@case("safe", "NIfTI gz bomb of 4 GB")
def _gz_bomb(folder: Path, ct: Volume) -> Path:
    path = folder / "bomb.nii.gz"
    path.write_bytes(gzip.compress(image(ct).to_bytes()) + gzip.compress(b"\0" * (1 << 20)) * 4096)
    return path


@case("reject", "NIfTI pipe")
def _pipe(folder: Path, ct: Volume) -> Path:
    os.mkfifo(folder / "ct.nii")
    return folder / "ct.nii"


@case("reject", "NIfTI missing")
def _missing(folder: Path, ct: Volume) -> Path:
    return folder / "ct.nii"


@case("reject", "NIfTI folder with its name")
def _folder(folder: Path, ct: Volume) -> Path:
    (folder / "ct.nii").mkdir()
    return folder / "ct.nii"


def nrrd_header(ct: Volume) -> dict[str, Any]:
    """A proper header."""
    return {
        "space": "left-posterior-superior",
        "space directions": ct.grid.affine_lps[:3, :3].T,
        "space origin": ct.grid.affine_lps[:3, 3],
        "kinds": ["domain"] * 3,
        "encoding": "gzip",
    }


def nrrd_file(expect: str, name: str, **changes: Any) -> None:
    """An NRRD file with header fields changed; None takes one away; `array` changes the data."""

    def build(folder: Path, ct: Volume) -> Path:
        fields = nrrd_header(ct)
        edit = changes.get("array", lambda a: a)
        fields.update({k.replace("_", " "): v(ct) if callable(v) else v for k, v in changes.items() if k != "array"})
        path = folder / "ct.nrrd"
        nrrd.write(str(path), edit(np.asarray(ct.array)), {k: v for k, v in fields.items() if v is not None})
        return path

    case(expect, f"NRRD {name}")(build)


def flip(*signs: float) -> dict[str, Any]:
    """Directions and origin under another space."""
    return {
        "space_directions": lambda ct: ct.grid.affine_lps[:3, :3].T * signs,
        "space_origin": lambda ct: ct.grid.affine_lps[:3, 3] * signs,
    }


nrrd_file("equal", "plain")
nrrd_file("equal", "raw", encoding="raw")
nrrd_file("equal", "RAS", space="right-anterior-superior", **flip(-1, -1, 1))
nrrd_file("equal", "LAS", space="left-anterior-superior", **flip(1, -1, 1))
nrrd_file("equal", "short space name", space="LPS")
nrrd_file("equal", "units said to be mm", space_units=["mm"] * 3)
nrrd_file("equal", "float", array=lambda a: a.astype(np.float32))
nrrd_file("equal", "big endian", endian="big", encoding="raw", array=lambda a: a.astype(">i2"))
nrrd_file("reject", "without space", space=None)
nrrd_file("reject", "unknown space", space="scanner-xyz")
nrrd_file("reject", "left-handed unknown", space="3D-left-handed")
nrrd_file("reject", "without directions", space_directions=None)
nrrd_file("reject", "without origin", space_origin=None)
nrrd_file("reject", "origin not finite", space_origin=[np.nan, 0.0, 0.0])
nrrd_file("reject", "directions zero", space_directions=np.zeros((3, 3)))
nrrd_file("reject", "directions parallel", space_directions=[[2.5, 0, 0], [2.5, 0, 0], [0, 0, 2.5]])
nrrd_file("reject", "sheared", space_directions=[[2.5, 0, 0], [0, 2.5, 0], [0, 0.8, 2.4]])
nrrd_file("reject", "units in m", space_units=["m"] * 3)
nrrd_file("reject", "directions in metres", space_directions=np.eye(3) * 0.0025)
nrrd_file("reject", "voxels not finite", array=lambda a: np.where(a > 300, np.nan, a))
nrrd_file("reject", "1024 too much", array=lambda a: a + np.int16(1024))
nrrd_file("reject", "two-dimensional", array=lambda a: a[:, :, 0], kinds=["domain"] * 2,
          space_directions=[[2.5, 0, 0], [0, 2.5, 0]])  # fmt: skip


def nrrd_patched(expect: str, name: str, change: Callable[[bytes], bytes], beside: bytes | None = None) -> None:
    """A raw NRRD file changed as bytes; `beside` is a second file, data.raw."""

    def build(folder: Path, ct: Volume) -> Path:
        fields = {**nrrd_header(ct), "encoding": "raw"}
        path = folder / "ct.nrrd"
        nrrd.write(str(path), np.asarray(ct.array), fields)
        path.write_bytes(change(path.read_bytes()))
        if beside is not None:
            (folder / "data.raw").write_bytes(beside or np.asfortranarray(ct.array).tobytes(order="F"))
        return path

    case(expect, f"NRRD {name}")(build)


def detached(name: str) -> Callable[[bytes], bytes]:
    """The header alone, naming its data."""
    return lambda raw: raw.partition(b"\n\n")[0] + f"\ndata file: {name}\n\n".encode()


nrrd_patched("equal", "detached in the same folder", detached("data.raw"), b"")
nrrd_patched("reject", "detached, absolute path", detached("/etc/passwd"))
nrrd_patched("reject", "detached, outside the folder", detached("../../../etc/passwd"))
nrrd_patched("reject", "detached, endless device", detached("/dev/zero"))
nrrd_patched("reject", "detached, missing", detached("none.raw"))
nrrd_patched("reject", "detached, list of files", detached("%03d.raw 1 9 1"))
nrrd_patched("reject", "detached, too short", detached("data.raw"), b"abc")
nrrd_patched("reject", "cut", lambda raw: raw[: len(raw) // 2])
nrrd_patched("reject", "header only", lambda raw: raw.partition(b"\n\n")[0] + b"\n\n")
nrrd_patched("reject", "sizes huge", lambda raw: raw.replace(b"sizes: 44 36 28", b"sizes: 99999 99999 99999"))
nrrd_patched("reject", "sizes negative", lambda raw: raw.replace(b"sizes: 44 36 28", b"sizes: -44 36 28"))
nrrd_patched("reject", "type unknown", lambda raw: raw.replace(b"type: int16", b"type: int99"))
nrrd_patched("reject", "encoding unknown", lambda raw: raw.replace(b"encoding: raw", b"encoding: lzw"))
nrrd_patched("reject", "text", lambda raw: b"not an image\n" * 50)
nrrd_patched("reject", "empty", lambda raw: b"")
nrrd_patched(
    "reject", "directions with words", lambda raw: raw.replace(b"space directions: (2.5", b"space directions: (two")
)


def archive(expect: str, name: str, write: Callable[[zipfile.ZipFile, bytes], None]) -> None:
    """A zip archive."""

    def build(folder: Path, ct: Volume) -> Path:
        path = folder / "series.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            write(opened, image(ct).to_bytes())
        return path

    case(expect, f"archive {name}")(build)


archive("equal", "with one NIfTI", lambda opened, raw: opened.writestr("a/ct.nii", raw))
archive("reject", "with a path upwards", lambda opened, raw: opened.writestr("../../ct.nii", raw))
archive("reject", "with an absolute path", lambda opened, raw: opened.writestr("/etc/ct.nii", raw))
archive("reject", "with a drive letter", lambda opened, raw: opened.writestr("C:\\ct.nii", raw))
archive("reject", "empty", lambda opened, raw: None)
archive(
    "reject", "with 25000 files", lambda opened, raw: [opened.writestr(f"{n}", b"") for n in range(25_000)] and None
)
archive("safe", "with a bomb", lambda opened, raw: [opened.writestr(n, bytes(1 << 27)) for n in "abc"] and None)


@case("reject", "archive with a link")
def _link(folder: Path, ct: Volume) -> Path:
    info = zipfile.ZipInfo("ct.nii")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(folder / "series.zip", "w") as opened:
        opened.writestr(info, "/etc/passwd")
    return folder / "series.zip"


@case("reject", "archive tar with a device")
def _device(folder: Path, ct: Volume) -> Path:
    with tarfile.open(folder / "series.tar", "w") as opened:
        member = tarfile.TarInfo("ct.nii")
        member.type = tarfile.CHRTYPE
        opened.addfile(member)
    return folder / "series.tar"


@case("equal", "archive tar.gz with one NIfTI")
def _tar(folder: Path, ct: Volume) -> Path:
    raw = image(ct).to_bytes()
    with tarfile.open(folder / "series.tar.gz", "w:gz") as opened:
        member = tarfile.TarInfo("ct.nii")
        member.size = len(raw)
        opened.addfile(member, io.BytesIO(raw))
    return folder / "series.tar.gz"


@case("reject", "archive that is none")
def _none(folder: Path, ct: Volume) -> Path:
    (folder / "series.zip").write_bytes(b"PK\3\4 and then nothing")
    return folder / "series.zip"
