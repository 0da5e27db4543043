"""Over a hundred CT folders: the same world in other clothes, worlds to be refused, worlds to warn about, and traps.

`equal`: must be read as the same world; `warn`: read with a warning; `reject`: refused with a sentence; `safe`: any
verdict, but no traceback, crash or hang.
"""

from __future__ import annotations

import copy
import os
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from sacroplasty.space import Volume
from tests.io.made_dicom import ROOT, Change, drop, enhanced, put, save, save_all, series, turned_series

Build = Callable[[Path, Volume], None]
CASES: dict[str, tuple[str, Build]] = {}


def case(expect: str, name: str) -> Callable[[Build], Build]:
    """Register a folder builder."""

    def keep(build: Build) -> Build:
        assert name not in CASES
        CASES[name] = (expect, build)
        return build

    return keep


def changed(expect: str, name: str, change: Change) -> None:
    """A series with a change made to every slice, `change(slice, number)`."""

    def build(folder: Path, ct: Volume) -> None:
        made = series(ct)
        for n, ds in enumerate(made):
            change(ds, n)
        save_all(made, folder)

    case(expect, name)(build)


def edited(expect: str, name: str, edit: Callable[[list[Dataset]], list[Dataset]]) -> None:
    """A series whose list of slices is edited as a whole."""
    case(expect, name)(lambda folder, ct: save_all(edit(series(ct)), folder) and None)


def setting(**values: object) -> Change:
    """Set attributes on every slice."""

    def change(ds: Dataset, n: int) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


def on(numbers: range | list[int], change: Change) -> Change:
    """The change on some slices only."""
    return lambda ds, n: change(ds, n) if n in numbers else None


def text(keyword: str, value: str) -> Change:
    """Raw text in an element."""
    return lambda ds, n: put(ds, keyword, value)


def without(keyword: str) -> Change:
    """Take an element away."""
    return lambda ds, n: drop(ds, keyword)


def moved(x: float = 0, y: float = 0, z: float = 0) -> Change:
    """Shift a slice's position."""

    def change(ds: Dataset, n: int) -> None:
        old = [float(v) for v in ds.ImagePositionPatient]
        ds.ImagePositionPatient = [f"{a + b:.6f}" for a, b in zip(old, (x, y, z), strict=True)]

    return change


def climbing(rule: Callable[[int], tuple[float, float, float]]) -> Change:
    """Shift every slice by a rule of its number."""
    return lambda ds, n: moved(*rule(n))(ds, n)


def shuffled(made: list[Dataset]) -> list[Dataset]:
    """Another order of files."""
    random.Random(1).shuffle(made)
    return made


def without_pixels(ds: Dataset, n: int) -> None:
    """An image without its pixels."""
    del ds.PixelData


# The same world.
edited("equal", "plain", lambda made: made)
edited("equal", "files shuffled", shuffled)
edited("equal", "files reversed", lambda made: made[::-1])
changed("equal", "instance numbers reversed", lambda ds, n: setattr(ds, "InstanceNumber", 100 - n))
changed("equal", "instance numbers random", lambda ds, n: setattr(ds, "InstanceNumber", (n * 7919) % 101))
changed("equal", "instance number missing", without("InstanceNumber"))
changed("equal", "all instance numbers one", setting(InstanceNumber=1))
changed("equal", "instance number empty", text("InstanceNumber", ""))
changed("equal", "slice location wrong", setting(SliceLocation=7.0))
changed("equal", "slice thickness larger than pitch", setting(SliceThickness=5.0))
changed("equal", "slice thickness missing", without("SliceThickness"))
changed("equal", "slice thickness zero", setting(SliceThickness=0))
changed("equal", "spacing between slices wrong", setting(SpacingBetweenSlices=9.0))
changed("equal", "tilt tag without tilt", setting(GantryDetectorTilt=-18.5))
changed("equal", "feet first label", setting(PatientPosition="FFS"))
changed("equal", "prone label", setting(PatientPosition="HFP"))
changed("equal", "feet first prone label", setting(PatientPosition="FFP"))
changed("equal", "Japanese character set", setting(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="患者"))
changed("equal", "unknown character set", text("SpecificCharacterSet", "KLINGON"))
changed("equal", "description hostile", setting(SeriesDescription="<script>alert(1)</script>"))
changed("equal", "rounded positions", lambda ds, n: setattr(
    ds, "ImagePositionPatient", [round(float(v), 2) for v in ds.ImagePositionPatient]))  # fmt: skip
changed("equal", "slightly rounded orientation", setting(ImageOrientationPatient=[0.99999, 0, 0, 0, 1.00001, 0]))
changed("equal", "padding tag unused", setting(PixelPaddingValue=63536))
changed("equal", "private elements", lambda ds, n: ds.private_block(0x0011, "MAKER", create=True).add_new(
    1, "LO", "secret"))  # fmt: skip
changed("equal", "explicit lossless flag", setting(LossyImageCompression="00"))
for name, order, signs in (
    ("rows flipped", (0, 1, 2), (1, -1, 1)), ("columns flipped", (0, 1, 2), (-1, 1, 1)),
    ("slices flipped", (0, 1, 2), (1, 1, -1)), ("turned by 180 degrees, as prone scans are", (0, 1, 2), (-1, -1, 1)),
    ("transposed", (1, 0, 2), (1, 1, 1)), ("sagittal", (1, 2, 0), (1, -1, 1)), ("coronal", (0, 2, 1), (1, -1, 1)),
    ("sagittal, right to left", (1, 2, 0), (1, -1, -1)), ("coronal, from behind", (0, 2, 1), (-1, -1, -1)),
):  # fmt: skip
    case("equal", f"stored {name}")(
        lambda folder, ct, order=order, signs=signs: save_all(turned_series(ct, order, signs), folder) and None
    )
for name, uid in (
    ("implicit", ImplicitVRLittleEndian), ("deflated", DeflatedExplicitVRLittleEndian),
):  # fmt: skip
    case("equal", f"syntax {name}")(lambda folder, ct, uid=uid: save_all(series(ct), folder, uid) and None)


@case("equal", "syntax RLE")
def _rle(folder: Path, ct: Volume) -> None:
    for path in sorted(save_all(series(ct), folder).iterdir()):
        ds = pydicom.dcmread(path)
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.save_as(path)


def recoded(folder: Path, kind: int) -> None:
    """Compress every file of a folder with GDCM."""
    for path in sorted(folder.iterdir()):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()


for name, kind in (
    ("JPEG 2000", gdcm.TransferSyntax.JPEG2000Lossless), ("JPEG-LS", gdcm.TransferSyntax.JPEGLSLossless),
    ("JPEG lossless", gdcm.TransferSyntax.JPEGLosslessProcess14_1),
    ("big endian", gdcm.TransferSyntax.ExplicitVRBigEndian),
):  # fmt: skip
    case("equal", f"syntax {name}")(lambda folder, ct, kind=kind: recoded(save_all(series(ct), folder), kind))
case("equal", "enhanced multi-frame")(lambda folder, ct: save(enhanced(ct), folder / "e.dcm") and None)
case("equal", "enhanced, frames shuffled")(
    lambda folder, ct: save(enhanced(ct, shuffled(list(range(28)))), folder / "e.dcm") and None
)


@case("equal", "names without ending in folders")
def _nested(folder: Path, ct: Volume) -> None:
    for n, ds in enumerate(series(ct)):
        save(ds, folder / f"D{n % 3}" / f"IM{n}")


@case("equal", "other files beside")
def _beside(folder: Path, ct: Volume) -> None:
    save_all(series(ct), folder)
    (folder / "README.txt").write_text("not an image", encoding="utf-8")
    (folder / "DICOMDIR.bak").write_bytes(b"\0" * 500)
    (folder / "._0001").write_bytes(b"\0\5\x16\7" + b"\0" * 100)


@case("equal", "report object beside")
def _report(folder: Path, ct: Volume) -> None:
    save_all(series(ct), folder)
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID, report.Modality = ComprehensiveSRStorage, f"{ROOT}.77", "SR"
    report.SeriesInstanceUID, report.StudyInstanceUID, report.PatientID = f"{ROOT}.4", f"{ROOT}.2", "P1"
    save(report, folder / "sr.dcm")


@case("equal", "scout as a series of its own")
def _scout_series(folder: Path, ct: Volume) -> None:
    made = series(ct)
    scout = series(ct)[0]
    scout.SOPInstanceUID, scout.SeriesInstanceUID = f"{ROOT}.88", f"{ROOT}.31"
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save_all([*made, scout], folder)


@case("equal", "signed pixels")
def _signed(folder: Path, ct: Volume) -> None:
    made = series(ct)
    for k, ds in enumerate(made):
        ds.PixelRepresentation, ds.RescaleIntercept = 1, 0
        ds.PixelData = np.ascontiguousarray(ct.array[:, :, k].T).astype("<i2").tobytes()
    save_all(made, folder)


@case("equal", "half slope")
def _half(folder: Path, ct: Volume) -> None:
    made = series(ct)
    for k, ds in enumerate(made):
        ds.RescaleSlope, ds.RescaleIntercept = 0.5, -1024
        ds.PixelData = ((ct.array[:, :, k].T.astype(np.int32) + 1024) * 2).astype("<u2").tobytes()
    save_all(made, folder)


@case("equal", "zip archive")
def _zip(folder: Path, ct: Volume) -> None:
    inner = save_all(series(ct), folder / "unpacked")
    with zipfile.ZipFile(folder / "series.zip", "w") as archive:
        for path in sorted(inner.iterdir()):
            archive.write(path, f"a/b/{path.name}")
            path.unlink()
    inner.rmdir()


# Worlds to warn about.
edited("warn", "duplicate slice, same pixels", lambda made: [*made, _copy(made[5], ".1")])
edited("warn", "every slice twice", lambda made: [*made, *(_copy(ds, ".1") for ds in made)])
changed("warn", "padding value of soft tissue", setting(PixelPaddingValue=1064))
changed("warn", "padding value of soft tissue in one slice", on([6], setting(PixelPaddingValue=1064)))
changed("warn", "rescale rule changes between slices, values right", lambda ds, n: setting(
    RescaleIntercept=-1024 - 10 * n,
    PixelData=(np.frombuffer(ds.PixelData, "<u2") + np.uint16(10 * n)).tobytes())(ds, n))  # fmt: skip
changed("warn", "decubitus", setting(PatientPosition="HFDR"))
changed("warn", "patient position missing", without("PatientPosition"))
changed("warn", "lossy flag", setting(LossyImageCompression="01"))
changed("warn", "slices 3 mm apart", climbing(lambda n: (0, 0, 0.5 * n)))
changed("warn", "slices 5 mm apart", climbing(lambda n: (0, 0, 2.5 * n)))
edited("warn", "small field of view", lambda made: made[:12])
edited("warn", "scout in the series", lambda made: [*made, _scout(made[0])])
edited("warn", "reference image of another orientation", lambda made: [*made, _sagittal(made[0])])
edited("warn", "reference image of another matrix", lambda made: [*made, _cropped(made[0])])


def _copy(ds: Dataset, suffix: str) -> Dataset:
    copied = copy.deepcopy(ds)
    copied.SOPInstanceUID = ds.SOPInstanceUID + suffix
    return copied


def _scout(ds: Dataset) -> Dataset:
    copied = _copy(ds, ".2")
    copied.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    copied.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return copied


def _sagittal(ds: Dataset) -> Dataset:
    copied = _copy(ds, ".3")
    copied.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    return copied


def _cropped(ds: Dataset) -> Dataset:
    copied = _copy(ds, ".4")
    copied.Rows = ds.Rows - 4
    copied.PixelData = ds.PixelData[: -4 * ds.Columns * 2]
    return copied


@case("warn", "one file damaged at the end of the stack")
def _damaged(folder: Path, ct: Volume) -> None:
    save_all(series(ct), folder)
    (folder / "0028.dcm").write_bytes((folder / "0028.dcm").read_bytes()[:140])


@case("warn", "no air in view")
def _no_air(folder: Path, ct: Volume) -> None:
    save_all(series(Volume(np.maximum(ct.array, -150), ct.grid)), folder)


# Worlds to be refused.
half = range(14, 28)
changed("reject", "two patients in a series", on(half, setting(PatientID="P2")))
changed("reject", "one slice of another patient", on([13], setting(PatientName="Other^Two")))
changed("reject", "two studies in a series", on(half, setting(StudyInstanceUID=f"{ROOT}.22")))
changed("reject", "two frames of reference", on(half, setting(FrameOfReferenceUID=f"{ROOT}.99")))
changed("reject", "one slice of another frame of reference", on([20], setting(FrameOfReferenceUID=f"{ROOT}.99")))
changed("reject", "two series", on(half, setting(SeriesInstanceUID=f"{ROOT}.33")))
changed("reject", "two kernels interleaved", lambda ds, n: setattr(ds, "ConvolutionKernel", f"B{30 + n % 2}"))
changed("reject", "two orientations", on(half, setting(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])))
changed("reject", "orientation drifts", lambda ds, n: setattr(
    ds, "ImageOrientationPatient", [1, 0, 0, 0, np.cos(n / 60), np.sin(n / 60)]))  # fmt: skip
changed("reject", "two pixel spacings", on(half, setting(PixelSpacing=[1.25, 1.25])))
changed("reject", "one slice with another pixel spacing", on([9], setting(PixelSpacing=[1.25, 1.25])))
edited("reject", "two complete series", lambda made: [*made, *map(_second_series, made)])
edited("reject", "two acquisitions at the same places", lambda made: [*made, *map(_second_acquisition, made)])
edited("reject", "one slice missing", lambda made: made[:10] + made[11:])
edited("reject", "ten slices missing", lambda made: made[:9] + made[19:])
edited("reject", "every third slice missing", lambda made: [ds for n, ds in enumerate(made) if n % 3])
edited("reject", "duplicate place, other pixels", lambda made: [*made, _other_pixels(made[5])])
changed("reject", "one slice moved up", on([12], moved(z=1.0)))
changed("reject", "pitch jumps", on(half, moved(z=1.0)))
changed("reject", "pitch grows", climbing(lambda n: (0, 0, 0.02 * n * n)))
changed("reject", "one slice moved sideways", on([12], moved(x=5.0)))
changed("reject", "gantry tilt", climbing(lambda n: (0, n * 0.8, 0)))
changed("reject", "gantry tilt, other sign", climbing(lambda n: (0, -n * 0.8, 0)))
changed("reject", "gantry tilt of half a degree", climbing(lambda n: (0, n * 0.025, 0)))
changed("reject", "gantry tilt and uneven slices", climbing(lambda n: (0, n * 0.8, 0.02 * n * n)))
changed("reject", "sheared sideways", climbing(lambda n: (n * 0.5, 0, 0)))
changed("reject", "all slices at one place", climbing(lambda n: (0, 0, -2.5 * n)))
changed("reject", "position missing", without("ImagePositionPatient"))
changed("reject", "position missing in the middle", on([14], without("ImagePositionPatient")))
changed("reject", "orientation missing", without("ImageOrientationPatient"))
changed("reject", "frame with two coordinates", text("ImagePositionPatient", "1\\2"))
changed("reject", "position not finite", on([3], text("ImagePositionPatient", "NaN\\0\\0")))
changed("reject", "orientation not finite", text("ImageOrientationPatient", "NaN\\0\\0\\0\\1\\0"))
changed("reject", "orientation zero", setting(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]))
changed("reject", "orientation not unit", setting(ImageOrientationPatient=[2, 0, 0, 0, 1, 0]))
changed("reject", "orientation not perpendicular", setting(ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]))
changed("reject", "orientation parallel", setting(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]))
changed("reject", "pixel spacing missing", without("PixelSpacing"))
changed("reject", "pixel spacing zero", setting(PixelSpacing=[0, 0]))
changed("reject", "pixel spacing negative", setting(PixelSpacing=[-2.5, 2.5]))
changed("reject", "pixel spacing not finite", text("PixelSpacing", "NaN\\NaN"))
changed("reject", "pixel spacing infinite", text("PixelSpacing", "inf\\inf"))
changed("reject", "pixel spacing one value", text("PixelSpacing", "2.5"))
changed("reject", "pixel spacing in metres", setting(PixelSpacing=[0.0025, 0.0025]))
changed("reject", "pixel spacing huge", setting(PixelSpacing=[250, 250]))
changed("reject", "positions in metres", lambda ds, n: setattr(
    ds, "ImagePositionPatient", [f"{float(v) / 1000:.8f}" for v in ds.ImagePositionPatient]))  # fmt: skip
changed("reject", "slices 12 mm apart", climbing(lambda n: (0, 0, 9.5 * n)))
changed("reject", "rescale slope missing", without("RescaleSlope"))
changed("reject", "rescale intercept missing", without("RescaleIntercept"))
changed("reject", "rescale slope zero", setting(RescaleSlope=0))
changed("reject", "rescale slope negative", setting(RescaleSlope=-1))
changed("reject", "rescale slope not finite", text("RescaleSlope", "NaN"))
changed("reject", "rescale slope huge", setting(RescaleSlope=1e9))
changed("reject", "intercept zero, so 1024 too much", setting(RescaleIntercept=0))
changed("reject", "intercept -2048", setting(RescaleIntercept=-2048))
changed("reject", "slope of one slice wrong", on([6], setting(RescaleSlope=5)))
changed("reject", "slope of one slice a tenth off", on([6], setting(RescaleSlope=1.1)))
changed("reject", "intercept of one slice wrong", on([6], setting(RescaleIntercept=0)))
changed("reject", "intercept of the last slices wrong", on(range(20, 28), setting(RescaleIntercept=-924)))
changed("reject", "inverted grey", setting(PhotometricInterpretation="MONOCHROME1"))
changed("reject", "eight bits", lambda ds, n: setting(
    BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=ds.PixelData[::2])(ds, n))  # fmt: skip
changed("reject", "colour", lambda ds, n: setting(
    SamplesPerPixel=3, PhotometricInterpretation="RGB", PixelData=ds.PixelData * 3)(ds, n))  # fmt: skip
changed("reject", "pixels missing", without_pixels)
changed("reject", "pixels of one slice missing", on([6], without_pixels))
changed("reject", "pixels too short", lambda ds, n: setattr(ds, "PixelData", ds.PixelData[:100]))
changed("reject", "matrix larger than the pixels", setting(Rows=400))
changed("reject", "matrix of 65535", setting(Rows=65535, Columns=65535))
changed("reject", "ultrasound", setting(Modality="US"))
changed("reject", "dose", setting(Modality="RTDOSE"))
changed("reject", "scouts only", setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
changed("reject", "noise instead of a body", lambda ds, n: setattr(
    ds, "PixelData", np.random.default_rng(n).integers(0, 65535, 44 * 36).astype("<u2").tobytes()))  # fmt: skip
edited("reject", "one slice", lambda made: made[:1])
edited("reject", "four slices", lambda made: made[:4])
edited("reject", "nothing", lambda made: [])


def _second_series(ds: Dataset) -> Dataset:
    copied = _copy(ds, ".6")
    copied.SeriesInstanceUID = f"{ROOT}.34"
    return copied


def _second_acquisition(ds: Dataset) -> Dataset:
    copied = _other_pixels(ds)
    copied.AcquisitionNumber = 2
    return copied


def _other_pixels(ds: Dataset) -> Dataset:
    copied = _copy(ds, ".7")
    copied.PixelData = np.roll(np.frombuffer(ds.PixelData, "<u2"), 3).tobytes()
    return copied


@case("reject", "text files only")
def _texts(folder: Path, ct: Volume) -> None:
    for n in range(5):
        (folder / f"{n}.txt").write_text("no image", encoding="utf-8")


@case("reject", "empty files named .dcm")
def _empty(folder: Path, ct: Volume) -> None:
    for n in range(30):
        (folder / f"{n}.dcm").touch()


def patched(name: str, change: Callable[[bytes], bytes]) -> None:
    """A series, to be refused, whose sixth file is changed as bytes."""

    @case("reject", name)
    def _patched(folder: Path, ct: Volume) -> None:
        path = save_all(series(ct), folder) / "0006.dcm"
        path.write_bytes(change(path.read_bytes()))


patched("bytes put into the pixels of one slice", lambda raw: raw[:-1000] + b"\1\2\3\4" + raw[-1000:])
patched("bytes after the pixels of one slice", lambda raw: raw + b"\0" * 6)
patched("last bytes of one slice missing", lambda raw: raw[:-2])
patched("representation of the pixels of one slice unknown", lambda raw: raw.replace(
    b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00\xffW"))  # fmt: skip


@case("reject", "enhanced without positions")
def _no_positions(folder: Path, ct: Volume) -> None:
    ds = enhanced(ct)
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence
    save(ds, folder / "e.dcm")


@case("reject", "enhanced with fewer positions than frames")
def _enhanced_long(folder: Path, ct: Volume) -> None:
    ds = enhanced(ct)
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:20]
    save(ds, folder / "e.dcm")


@case("reject", "enhanced that does not say its number of frames")
def _enhanced_unsaid(folder: Path, ct: Volume) -> None:
    ds = enhanced(ct)
    del ds.NumberOfFrames
    save(ds, folder / "e.dcm")


@case("reject", "enhanced with fewer frames than positions")
def _fewer(folder: Path, ct: Volume) -> None:
    ds = enhanced(ct)
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    save(ds, folder / "e.dcm")


@case("reject", "zip with a name that leaves it")
def _slip(folder: Path, ct: Volume) -> None:
    inner = save_all(series(ct), folder / "unpacked")
    with zipfile.ZipFile(folder / "series.zip", "w") as archive:
        for path in sorted(inner.iterdir()):
            archive.write(path, f"../../{path.name}")
            path.unlink()
    inner.rmdir()


# Traps: any verdict will do, but no traceback, crash or hang.
def bytes_changed(name: str, change: Callable[[bytes, int], bytes], expect: str = "safe") -> None:
    """A series whose files are changed as bytes."""

    def build(folder: Path, ct: Volume) -> None:
        for n, path in enumerate(sorted(save_all(series(ct), folder).iterdir())):
            path.write_bytes(change(path.read_bytes(), n))

    case(expect, name)(build)


bytes_changed("pixel spacing with comma", lambda raw, n: raw.replace(b"2.5\\2.5", b"2,5\\2,5"), "reject")
bytes_changed("position with comma", lambda raw, n: raw.replace(b"-60.000000", b"-60,000000"), "reject")
bytes_changed("one position with comma", lambda raw, n: raw.replace(b"-60.0", b"-60,0") if n == 9 else raw, "reject")
for tenth in range(1, 10):
    bytes_changed(f"files cut after {tenth}0 %", lambda raw, n, tenth=tenth: raw[: len(raw) * tenth // 10])
bytes_changed("preamble missing", lambda raw, n: raw[132:])
bytes_changed("executable preamble", lambda raw, n: b"MZ\x90\0" + raw[4:])
bytes_changed("random bytes", lambda raw, n: np.random.default_rng(n).bytes(len(raw)))
bytes_changed("header kept, rest random", lambda raw, n: raw[:200] + np.random.default_rng(n).bytes(5000))
bytes_changed("zeros after the header", lambda raw, n: raw[:400] + b"\0" * (len(raw) - 400))
bytes_changed("transfer syntax unknown", lambda raw, n: raw.replace(b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.9"))
bytes_changed("transfer syntax says big endian", lambda raw, n: raw.replace(b"10008.1.2.1\0", b"10008.1.2.2\0"))
bytes_changed("pixels said to be 4 GB", lambda raw, n: _lengthened(raw))


def _lengthened(raw: bytes) -> bytes:
    at = raw.index(b"\xe0\x7f\x10\x00OW") + 8
    return raw[:at] + b"\xf0\xff\xff\xff" + raw[at + 4 :]


@case("safe", "pipe among the files")
def _pipe(folder: Path, ct: Volume) -> None:
    save_all(series(ct), folder)
    os.mkfifo(folder / "pipe.dcm")


@case("safe", "link in a circle")
def _circle(folder: Path, ct: Volume) -> None:
    save_all(series(ct), folder)
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "device.dcm").symlink_to("/dev/zero")


@case("safe", "sequences 2000 deep")
def _deep(folder: Path, ct: Volume) -> None:
    path = save(series(ct)[0], folder / "deep.dcm")
    opening = b"\x11\x00\x10\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(path.read_bytes() + b"\x11\x00\x10\x00LO\x04\x00MINE" + opening * 2000)


@case("safe", "deflated bomb")
def _bomb(folder: Path, ct: Volume) -> None:
    path = save(series(ct)[0], folder / "bomb.dcm", DeflatedExplicitVRLittleEndian)
    raw = path.read_bytes()
    end = raw.index(b"1.2.840.10008.1.2.1.99") + 22
    pump = zlib.compressobj(9, zlib.DEFLATED, -15)
    # A full flush makes every block independent of what came before, so one block can be repeated.
    start = pump.compress(b"\x11\x00\x10\x10OB\0\0\x00\x00\x00\xf0") + pump.flush(zlib.Z_FULL_FLUSH)
    block = pump.compress(b"\0" * (1 << 20)) + pump.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(raw[:end] + start + block * 4000 + pump.flush())


@case("safe", "a billion frames")
def _frames(folder: Path, ct: Volume) -> None:
    ds = series(ct)[0]
    ds.NumberOfFrames = 1_000_000_000
    save_all([ds] * 6, folder)


@case("safe", "directory file that leaves the folder")
def _directory(folder: Path, ct: Volume) -> None:
    ds = series(ct)[0]
    item = Dataset()
    item.ReferencedFileID = ["..", "..", "secret"]
    ds.DirectoryRecordSequence = [item]
    save_all([ds, *series(ct)[1:]], folder)


@case("safe", "all UIDs one")
def _one_uid(folder: Path, ct: Volume) -> None:
    made = series(ct)
    for ds in made:
        ds.SOPInstanceUID = f"{ROOT}.5.1"
    save_all(made, folder)


@case("safe", "UIDs that are paths")
def _paths(folder: Path, ct: Volume) -> None:
    made = series(ct)
    for ds in made:
        ds.SeriesInstanceUID = "../../../../tmp/x"
    save_all(made, folder)
