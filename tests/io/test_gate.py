"""The geometry gate against worlds in other clothes, broken worlds and traps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sacroplasty.errors import GeometryError, InputError, SacroplastyError
from sacroplasty.io import CODES, Verdict, inspect, read_series, write_nifti
from sacroplasty.io.series import ImageSeries, judge, load
from sacroplasty.space import Volume
from tests.data import real
from tests.io import corpus_dicom, corpus_files
from tests.io.made_dicom import body_ct, one_slice, save_all, series

# Bombs and slow ones go through the child process, in a test of their own.
BOMBS = {"deflated bomb", "NIfTI gz bomb of 4 GB", "archive with a bomb"}
HAZARDS = {
    "H02": ("tilt", "shear"), "H03": ("missing", "duplicate", "pitch", "uneven"), "H05": ("spacing", "unit", "metres"),
    "H04": ("patient", "series", "frame", "scout", "orientation"), "H06": ("rescale", "intercept", "1024", "padding"),
    "H11": ("finite",),
}  # fmt: skip


def build(name: str, folder: Path, ct: Volume) -> Path:
    """Make one case; the path to read."""
    if name in corpus_files.CASES:
        return corpus_files.CASES[name][1](folder, ct)
    corpus_dicom.CASES[name][1](folder, ct)
    return folder / "series.zip" if (folder / "series.zip").exists() else folder


def cases() -> list[object]:
    """Every case with its expected verdict, marked with the hazards it stands for."""
    every = {**corpus_dicom.CASES, **corpus_files.CASES}
    return [
        pytest.param(
            name,
            expect,
            id=name.replace(" ", "-"),
            marks=[pytest.mark.hazard(h) for h, words in HAZARDS.items() if any(w in name for w in words)],
        )
        for name, (expect, _) in every.items()
        if name not in BOMBS
    ]


def judged(path: Path) -> ImageSeries:
    """Read without a child process, for speed."""
    raw = load(path, modality="CT")
    return judge(replace(raw, modality="CT"))


def test_enough_cases() -> None:
    assert len(corpus_dicom.CASES) >= 135
    assert len(corpus_files.CASES) >= 105


def outcome(path: Path) -> ImageSeries | SacroplastyError:
    """The image, or what the gate refused it with; anything else escapes and fails the test."""
    try:
        return judged(path)
    except SacroplastyError as error:
        return error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "expect"), cases())
def test_verdict(tmp_path: Path, name: str, expect: str) -> None:
    ct = body_ct()
    found = outcome(build(name, tmp_path, ct))
    if isinstance(found, SacroplastyError):
        assert expect in {"reject", "safe"}, found.sentence
        assert found.code in CODES
        assert "Traceback" not in found.sentence
        assert len(found.sentence) > 30
        return
    assert expect != "reject", [r.message for r in found.remarks]
    if expect == "warn":
        assert found.verdict is Verdict.WARN
    if expect == "equal":
        assert found.verdict is Verdict.ACCEPT
        assert np.abs(found.volume.grid.corners_mm - ct.grid.corners_mm).max() < 0.05
        np.testing.assert_array_equal(found.volume.array, ct.array)


@pytest.mark.hazard("H17")
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_are_stopped(tmp_path: Path, name: str) -> None:
    path = build(name, tmp_path, body_ct())
    with pytest.raises(InputError) as caught:
        read_series(path)
    assert caught.value.code in {"SAC-G003", "SAC-G004", "SAC-G007"}


@pytest.mark.hazard("H17")
@pytest.mark.parametrize("odd", ["member without a name", "turned bit in the deflated data", "unknown packing"])
def test_damaged_archives_are_refused_by_the_unpacker_itself(tmp_path: Path, odd: str) -> None:
    import zipfile

    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", bytes(range(256)) * 40)
    raw = bytearray(path.read_bytes())
    if odd.startswith("member"):
        # The list's entry says that its one byte is no name but an extra field.
        entry = raw.index(b"PK\1\2")
        raw[entry + 28], raw[entry + 30] = 0, 1
    if odd.startswith("turned"):
        raw[31:45] = b"\xff" * 14
    if odd.startswith("unknown"):
        raw[8] = raw[raw.index(b"PK\1\2") + 10] = 77
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        load(path)
    assert caught.value.code == "SAC-G007"


@pytest.mark.hazard("H17")
def test_a_crash_or_hang_of_the_reader_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from sacroplasty.io.isolation import isolated

    path = write_nifti(body_ct(), tmp_path / "ct.nii.gz")
    for script, words, limit_s in (("kill -SEGV $$", "crashed", None), ("sleep 60", "no answer within", 0.5),
                                   ("exit 1", "without an answer", None)):  # fmt: skip
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        with pytest.raises(InputError, match=words) as caught:
            isolated("load", path, timeout_s=limit_s)
        assert caught.value.code == "SAC-G004"


def test_warnings_must_be_acknowledged_and_stay(tmp_path: Path) -> None:
    made = series(body_ct())
    for ds in made:
        ds.PatientPosition = "HFDR"
    folder = save_all(made, tmp_path)
    with pytest.raises(GeometryError, match="SAC-G037"):
        read_series(folder, acknowledge=())
    with pytest.raises(GeometryError, match="SAC-G037"):
        read_series(folder, acknowledge=["SAC-G026"])
    scan = read_series(folder, acknowledge=["SAC-G037"])
    assert scan.provenance["verdict"] == "warn"
    assert [r["code"] for r in scan.provenance["remarks"]] == ["SAC-G037"]
    assert scan.provenance["patient_position"] == "HFDR"


def test_one_of_several_series_can_be_chosen(tmp_path: Path) -> None:
    ct = body_ct()
    other = series(Volume(np.where(ct.array == 500, 700, ct.array), ct.grid))
    for ds in other:
        ds.SeriesInstanceUID += ".7"
        ds.SOPInstanceUID += ".7"
    folder = save_all([*series(ct), *other], tmp_path)
    found = inspect(folder)
    assert (found.verdict, found.code) == (Verdict.REJECT, "SAC-G010")
    assert len(found.stacks) == 2
    for stack, bone in zip(found.stacks, (500, 700), strict=True):
        assert read_series(folder, series=stack.split(":")[0]).volume.array.max() == bone
    with pytest.raises(InputError, match="not clear"):
        read_series(folder, series="1.2.3")


def test_padding_becomes_air_and_is_said(tmp_path: Path) -> None:
    ct = body_ct()
    made = series(ct)
    for ds in made:
        pixels = np.frombuffer(ds.PixelData, "<u2").astype("<i2").reshape(ds.Rows, ds.Columns) - 1024
        pixels[:3] = -2000
        ds.PixelRepresentation, ds.RescaleIntercept, ds.PixelPaddingValue = 1, 0, -2000
        ds.PixelData = pixels.astype("<i2").tobytes()
    scan = judged(save_all(made, tmp_path))
    assert [r.code for r in scan.remarks] == ["SAC-G035"]
    assert scan.verdict is Verdict.ACCEPT
    assert scan.volume.array.min() == -1024
    stored = Volume(np.where(ct.array == -1000, np.int16(-3024), ct.array), ct.grid)
    converted = judged(write_nifti(stored, tmp_path / "padded.nii"))
    assert [r.code for r in converted.remarks] == ["SAC-G035"]
    assert converted.volume.array.min() == -1024


@pytest.mark.hazard("H02")
def test_tilt_is_resampled_only_on_request(tmp_path: Path) -> None:
    ct = body_ct((44, 60, 40))
    points = ct.grid.centres_mm()[12:30, 15:40, 8:30]
    made = []
    for k in range(ct.grid.shape[2]):
        ds = one_slice(ct, k)
        shear = 0.8 * (k - 20)
        shifted = ct.sampled(ct.grid.centres_mm()[:, :, k] + (0, shear, 0), order=1)
        ds.PixelData = (np.rint(shifted).T + 1024).astype("<u2").tobytes()
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y + shear, z]
        made.append(ds)
    folder = save_all(made, tmp_path)
    with pytest.raises(GeometryError, match="gantry tilt"):
        read_series(folder)
    scan = read_series(folder, resample_tilted=True)
    assert [r.code for r in scan.warnings] == ["SAC-G071"]
    # The bone's centre, measured where it was and where it is found, must agree far below a voxel.
    bones = [v.sampled(points) > 300 for v in (ct, scan.volume)]
    centres = [points[b].mean(axis=0) for b in bones]
    assert np.linalg.norm(centres[0] - centres[1]) < 0.3
    assert scan.volume.grid.contains(points).all()


@pytest.mark.real
@pytest.mark.hazard("H02")
def test_real_tilted_scan_keeps_its_world() -> None:
    path = real("tilted_phantom")
    found = inspect(path)
    assert (found.verdict, found.code) == (Verdict.REJECT, "SAC-G023")
    scan = read_series(path, resample_tilted=True)
    assert "SAC-G071" in {r.code for r in scan.warnings}
    # Every source pixel of three slices, placed by its own header, must hold the same value in the resampled world.
    import pydicom

    for name in ("I10", "I250", "I500"):
        ds = pydicom.dcmread(path / name)
        row, column = np.array(ds.ImageOrientationPatient[:3]), np.array(ds.ImageOrientationPatient[3:])
        j, i = np.mgrid[40:480:5, 40:480:5]
        spacing = [float(v) for v in ds.PixelSpacing]
        world = (
            np.array(ds.ImagePositionPatient) + (i[..., None] * spacing[1]) * row + (j[..., None] * spacing[0]) * column
        )
        stored = ds.pixel_array[j, i] * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        difference = np.abs(scan.volume.sampled(world) - np.maximum(stored, -1024))
        assert np.median(difference) < 8
        edges = shift_of_best_match(scan.volume, world, np.maximum(stored, -1024), column)
        assert abs(edges) <= 0.5


def shift_of_best_match(volume: Volume, world: np.ndarray, stored: np.ndarray, direction: np.ndarray) -> float:
    """Shift along a direction, mm, at which the volume fits the stored pixels best."""
    shifts = np.arange(-3, 3.01, 0.25)
    errors = [np.abs(volume.sampled(world + s * direction) - stored).mean() for s in shifts]
    return float(shifts[int(np.argmin(errors))])


@pytest.mark.hazard("H03")
def test_uneven_slices_are_resampled_only_on_request(tmp_path: Path) -> None:
    ct = body_ct()
    made = []
    for k in range(ct.grid.shape[2]):
        ds = one_slice(ct, k)
        height = 0.04 * k * (k - 27) / 4
        shifted = ct.sampled(ct.grid.centres_mm()[:, :, k] + (0, 0, height), order=1, outside=-1000)
        ds.PixelData = (np.rint(shifted).T + 1024).astype("<u2").tobytes()
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y, z + height]
        made.append(ds)
    folder = save_all(made, tmp_path)
    with pytest.raises(GeometryError, match="unevenly"):
        judged(folder)
    raw = replace(load(folder), modality="CT")
    scan = judge(raw, resample_irregular=True)
    assert [r.code for r in scan.warnings] == ["SAC-G070"]
    points = ct.grid.centres_mm()[10:30, 8:30, 6:22]
    centres = [points[v.sampled(points) > 300].mean(axis=0) for v in (ct, scan.volume)]
    assert np.linalg.norm(centres[0] - centres[1]) < 0.4


@pytest.mark.real
@pytest.mark.parametrize("name", ["taichi/dicom/ct_sagittal", "acrin/ct_pelvis_4.25mm.nii.gz"])
def test_simple_itk_places_the_corners_where_we_do(name: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = real(name)
    if path.is_dir():
        import pydicom

        files = [str(f) for f in sorted(path.iterdir()) if abs(pydicom.dcmread(f).ImageOrientationPatient[0]) < 0.5]
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(sorted(files, key=lambda f: float(pydicom.dcmread(f).ImagePositionPatient[0])))
        image = reader.Execute()
    else:
        image = sitk.ReadImage(str(path))
    last = np.array(image.GetSize()) - 1
    index = [(i * last[0], j * last[1], k * last[2]) for k in (0, 1) for j in (0, 1) for i in (0, 1)]
    theirs = np.array([image.TransformIndexToPhysicalPoint([int(n) for n in p]) for p in index])
    ours = np.array(inspect(path).corners_mm)
    apart = np.linalg.norm(theirs[:, None] - ours[None], axis=2).min(axis=1)
    assert apart.max() < 0.1


@pytest.mark.hazard("H01")
def test_disagreement_of_the_second_reader_is_refused(tmp_path: Path) -> None:
    raw = replace(load(write_nifti(body_ct(), tmp_path / "ct.nii")), modality="CT")
    assert raw.second_corners_mm is not None
    judge(raw)
    with pytest.raises(GeometryError, match="Two independent readers"):
        judge(replace(raw, second_corners_mm=raw.second_corners_mm * (-1, 1, 1)))


def test_inspection_of_a_good_scan(tmp_path: Path) -> None:
    ct = body_ct()
    found = inspect(save_all(series(ct), tmp_path))
    assert (found.verdict, found.code, found.rejected) == (Verdict.ACCEPT, "", False)
    np.testing.assert_allclose(found.corners_mm, ct.grid.corners_mm, atol=1e-3)
    assert "28 CT images of 44x36" in found.describe()
    assert inspect(tmp_path / "nothing").code == "SAC-G001"


def test_every_code_says_what_it_is() -> None:
    for code, (verdict, words) in CODES.items():
        assert code.startswith("SAC-G")
        assert isinstance(verdict, Verdict)
        assert len(words) > 8
