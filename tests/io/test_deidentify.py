"""De-identification with canaries in every value representation, nested and private."""

from __future__ import annotations

import struct
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from sacroplasty.errors import SacroplastyError
from sacroplasty.io import read_series
from sacroplasty.io.deidentify import Key, deidentified, deidentify_folder, kept_elements, leaks
from tests.io.made_dicom import body_ct, save, save_all, series

KEY = Key(b"a secret of the project, kept apart")
WORD = "CANARYBIRD"
DIGITS = "7319462850"
TEXTS = {"AE": WORD, "CS": WORD, "LO": WORD, "LT": WORD, "PN": f"{WORD}^X", "SH": WORD, "ST": WORD, "UC": WORD,
         "UR": f"http://{WORD}", "UT": WORD, "DS": DIGITS, "IS": DIGITS, "DA": "19470213", "TM": "131719",
         "DT": "19470213131719", "AS": "097Y", "UI": f"1.2.{DIGITS}"}  # fmt: skip
# Kinds of value that hold bytes or numbers instead of text: the same canary as bytes.
NUMBER = 7319462850
BYTES = {"OB": WORD.encode(), "UN": WORD.encode(), "OW": WORD.encode(), "OL": WORD.encode() + b"XX",
         "OF": WORD.encode() + b"XX", "OD": struct.pack("<2d", NUMBER, NUMBER), "OV": struct.pack("<q", NUMBER),
         "FD": float(NUMBER), "FL": 731946.3125, "SV": NUMBER, "UV": NUMBER, "UL": 3194628507, "SL": 1946285073,
         "AT": 0x43414E41}  # fmt: skip
PATTERNS = {struct.pack("<d", NUMBER), struct.pack("<q", NUMBER), struct.pack("<f", 731946.3125),
            struct.pack("<I", 3194628507), struct.pack("<i", 1946285073),
            struct.pack("<HH", 0x4341, 0x4E41)}  # fmt: skip
CANARIES = [WORD, DIGITS, "19470213", "131719", "097Y"]


def sown(ds: Dataset) -> Dataset:
    """A canary in every element of the dictionary that can hold text, but for those that describe the image itself."""
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        if group in {0x0000, 0x0002, 0x0004, 0x0028, 0xFFFE} or not keyword or keyword in ds or retired:
            continue
        if vr in TEXTS and keyword not in kept_elements():
            ds.add(DataElement(tag, vr, TEXTS[vr]))
        elif vr in BYTES and keyword not in kept_elements() and group != 0x7FE0:
            ds.add(DataElement(tag, vr, BYTES[vr]))
    ds.PatientName, ds.PatientID, ds.StudyDate = f"{WORD}^Anna", WORD, "19470213"
    inner = Dataset()
    inner.PatientName, inner.CodeMeaning, inner.InstitutionName = f"{WORD}^Nested", WORD, WORD
    ds.RequestAttributesSequence = [inner]
    deep = Dataset()
    deep.PatientComments, deep.OtherPatientIDsSequence = WORD, [inner]
    ds.PlanePositionSequence = [deep]
    ds.private_block(0x0011, WORD, create=True).add_new(1, "LO", WORD)
    ds.private_block(0x0011, "MAKER", create=True).add_new(2, "UN", WORD.encode() + b" " * 2)
    ds.ImageComments = f"seen by Dr {WORD}"
    return ds


@pytest.mark.hazard("H16")
@pytest.mark.filterwarnings("ignore")
def test_no_canary_leaves(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(0)
    made = [sown(ds) for ds in series(body_ct((44, 36, 8)))]
    source = save_all(made, tmp_path / f"{WORD}")
    assert set(leaks(source, CANARIES)) == set(CANARIES)
    written, remarks = deidentify_folder(source, tmp_path / "out", KEY)
    assert len(written) == 8
    assert leaks(tmp_path / "out", CANARIES) == ()
    assert not any(WORD in r.message for r in remarks)
    said = caplog.text + "".join(capfd.readouterr()) + repr(remarks)
    assert not [c for c in CANARIES if c.lower() in said.lower()]
    sown_bytes = next(source.iterdir()).read_bytes()
    assert all(pattern in sown_bytes for pattern in PATTERNS)
    for path in written:
        assert not [p for p in PATTERNS if p in path.read_bytes()]


def test_every_kind_of_value_holds_a_canary() -> None:
    """All kinds of DICOM's dictionary but sequences and the two-byte numbers, which are too short to be told apart."""
    kinds = {vr for vr, *_ in DicomDictionary.values() if " or " not in vr}
    assert kinds - TEXTS.keys() - BYTES.keys() <= {"SQ", "US", "SS", "NONE", ""}


@pytest.mark.filterwarnings("ignore")
def test_the_image_stays_the_same_world(tmp_path: Path) -> None:
    ct = body_ct((44, 36, 8))
    deidentify_folder(save_all([sown(ds) for ds in series(ct)], tmp_path / "in"), tmp_path / "out", KEY)
    scan = read_series(tmp_path / "out")
    assert scan.volume.grid.same_as(type(ct.grid)(ct.grid.shape, ct.grid.patient_from_voxel))
    np.testing.assert_array_equal(scan.volume.array, ct.array)
    assert scan.provenance["patient_position"] == "HFS"


def test_links_and_intervals_stay() -> None:
    first, second = series(body_ct())[:2]
    first.StudyDate, second.StudyDate = "20250110", "20250207"
    one, two = (deidentified(ds, KEY)[0] for ds in (first, second))
    assert one.StudyInstanceUID == two.StudyInstanceUID != first.StudyInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    days = [date(int(d[:4]), int(d[4:6]), int(d[6:])) for d in (one.StudyDate, two.StudyDate)]
    assert (days[1] - days[0]).days == 28
    assert days[0] < date(2025, 1, 10)
    other = deidentified(first, Key(b"another secret, just as long"))[0]
    assert other.PatientID != one.PatientID
    assert other.StudyInstanceUID != one.StudyInstanceUID
    assert one.PatientIdentityRemoved == "YES"
    assert one.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


def test_what_a_table_cannot_clean_is_left_out_and_said(tmp_path: Path) -> None:
    made = series(body_ct())[:3]
    made[1].Modality = "SR"
    made[2].BurnedInAnnotation = "YES"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("Mr X", encoding="utf-8")
    for n, ds in enumerate(made):
        save(ds, tmp_path / "in" / f"{n}.dcm")
    written, remarks = deidentify_folder(tmp_path / "in", tmp_path / "out", KEY)
    assert len(written) == 2
    assert [r.code for r in remarks] == ["SAC-G096", "SAC-G097"]
    assert "2 files" in remarks[1].message


def test_a_short_key_is_refused() -> None:
    with pytest.raises(SacroplastyError, match="too short"):
        Key(b"short")


def test_file_meta_information_is_made_anew(tmp_path: Path) -> None:
    path = save(series(body_ct())[0], tmp_path / "a.dcm")
    ds = pydicom.dcmread(path)
    ds.file_meta.SourceApplicationEntityTitle = WORD
    ds.preamble = WORD.encode().ljust(128)
    clean, _ = deidentified(ds, KEY)
    clean.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    assert WORD.encode() not in (tmp_path / "b.dcm").read_bytes()
