"""De-identification after DICOM PS3.15 Annex E, Basic Profile, with clean descriptors and shifted dates.

What the tables below do not keep is removed or emptied: a list of what may stay, not of what must go. UIDs become
keyed ones, the same for the same key, so that the images of a series and of a patient still belong together; dates of
one patient move by one secret number of days, so that intervals stay (option 113107).
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from sacroplasty.io.atomic import write_bytes
from sacroplasty.io.dicom_headers import regular_files
from sacroplasty.io.isolation import isolated
from sacroplasty.io.verdict import Remark, rejected

METHOD = "DICOM PS3.15 Annex E Basic Profile; sacroplasty"
_CODES = (("113100", "Basic Application Confidentiality Profile"),
          ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"))  # fmt: skip
# Elements that a reader expects but that name somebody: they stay, empty.
_EMPTIED = frozenset(
    {
        "PatientBirthDate",
        "PatientSex",
        "ReferringPhysicianName",
        "AccessionNumber",
        "StudyID",
        "StudyTime",
        "SeriesTime",
        "ContentTime",
        "Manufacturer",
        "PositionReferenceIndicator",
    }
)
_DATES = frozenset({"StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"})
_LARGEST_SHIFT_DAYS = 3650


@dataclass(frozen=True)
class Key:
    """The project's secret, from which pseudonyms, UIDs and date shifts follow; keep it apart from the data."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) < 16:
            raise rejected("SAC-G095", "The key is too short", got=f"{len(self.secret)} bytes", remedy="Use 16 or more")

    def digest(self, kind: str, text: str) -> bytes:
        """A keyed hash, not to be undone without the key."""
        return hmac.new(self.secret, f"{kind}|{text}".encode(), hashlib.sha256).digest()

    def uid(self, uid: str) -> str:
        """The new UID of an old one, under the root for UUIDs."""
        return f"2.25.{int.from_bytes(self.digest('uid', uid)[:16], 'big')}"

    def pseudonym(self, patient_id: str) -> str:
        """The patient's new ID."""
        return "S" + self.digest("patient", patient_id.strip()).hex()[:12].upper()

    def shift(self, patient_id: str) -> timedelta:
        """How far this patient's dates move, always into the past."""
        days = int.from_bytes(self.digest("days", patient_id.strip())[:4], "big") % _LARGEST_SHIFT_DAYS + 1
        return timedelta(days=-days)


def deidentified(ds: Dataset, key: Key) -> tuple[Dataset, tuple[Remark, ...]]:
    """A new object with only what may stay, and a warning where the pixels themselves may name the patient."""
    patient = str(ds.get("PatientID", ""))
    clean = _kept(ds, key, patient)
    clean.PatientID = clean.PatientName = key.pseudonym(patient)
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = METHOD
    clean.DeidentificationMethodCodeSequence = [_code(*code) for code in _CODES]
    clean.LongitudinalTemporalInformationModified = "MODIFIED"
    meta = FileMetaDataset()
    held = getattr(ds, "file_meta", None)
    meta.TransferSyntaxUID = UID(str(held.TransferSyntaxUID)) if held is not None else UID("1.2.840.10008.1.2.1")
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = clean.SOPClassUID, clean.SOPInstanceUID
    clean.file_meta = meta
    return clean, _burned_in(ds)


@cache
def kept_elements() -> frozenset[str]:
    """Keywords of the elements that stay as they are."""
    text = resources.files(__package__).joinpath("deidentify_kept.txt").read_text(encoding="utf-8")
    return frozenset(" ".join(line for line in text.splitlines() if not line.startswith("#")).split())


def _kept(ds: Dataset, key: Key, patient: str) -> Dataset:
    """The elements that may stay, sequences included, with UIDs and dates made new; private elements never stay."""
    clean = Dataset()
    for element in ds:
        if element.tag.is_private:
            continue
        name = keyword_for_tag(element.tag)
        value = _new_value(name, element, key, patient)
        if value is not None:
            clean.add(DataElement(element.tag, dictionary_VR(element.tag), value) if value == "" else value)
    return clean


def _new_value(name: str, element: DataElement, key: Key, patient: str) -> Any:
    """The element to keep, "" to empty it, None to drop it."""
    if name in _EMPTIED:
        return ""
    if element.VR == "SQ":
        if name not in kept_elements():
            return None
        return DataElement(element.tag, "SQ", [_kept(item, key, patient) for item in element.value])
    if name in _DATES:
        return DataElement(element.tag, "DA", _moved(str(element.value), key.shift(patient)))
    if element.VR == "UI" and not name.endswith("ClassUID") and name != "TransferSyntaxUID":
        values = [element.value] if isinstance(element.value, str) else list(element.value or [])
        return DataElement(element.tag, "UI", [key.uid(str(v)) for v in values])
    # An element kept by name but written with another kind of value than the dictionary's may carry anything.
    return element if name in kept_elements() and element.VR in _kinds(element) else None


def _kinds(element: DataElement) -> set[str]:
    return set(dictionary_VR(element.tag).replace(" or ", " ").split())


def _moved(text: str, shift: timedelta) -> str:
    try:
        return (date(int(text[:4]), int(text[4:6]), int(text[6:8])) + shift).strftime("%Y%m%d")
    except (ValueError, OverflowError):
        return ""


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _burned_in(ds: Dataset) -> tuple[Remark, ...]:
    said = str(ds.get("BurnedInAnnotation", "")).upper()
    drawn = str(ds.get("ConversionType", "")) or ds.get("Modality") in {"OT", "SC", "US", "XA", "RF", "DOC"}
    if said == "YES" or (said != "NO" and drawn):
        return (Remark("SAC-G096", "The pixels may show the patient's name: look at them before they leave."),)
    return ()


def deidentify_folder(
    source: str | os.PathLike[str], out: str | os.PathLike[str], key: Key
) -> tuple[tuple[Path, ...], tuple[Remark, ...]]:
    """Write every CT and MR image below a folder anew, under names that say nothing; what was written.

    Objects of other kinds (reports, segmentations, PDF, pictures) are left out with a remark: no table can clean
    their text. The originals are parsed in the child process.
    """
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    found = isolated("deidentify", Path(source), out=str(target.absolute()), secret=key.secret.hex())
    remarks = tuple(Remark(str(code), str(message)) for code, message in found["remarks"])
    return tuple(target / Path(name).name for name in found["written"]), remarks


def write_deidentified(source: Path, out: str, secret: str) -> dict[str, Any]:
    """Names of the images written, and remarks, as plain data. Runs in the child process."""
    key, written, left_out = Key(bytes.fromhex(secret)), [], 0
    remarks: set[Remark] = set()
    for path in regular_files(source):
        try:
            ds = pydicom.dcmread(path)
            if ds.get("Modality") not in {"CT", "MR"}:
                raise ValueError
            clean, noticed = deidentified(ds, key)
            name = f"{hashlib.sha256(str(clean.SOPInstanceUID).encode()).hexdigest()[:24]}.dcm"
            content = io.BytesIO()
            clean.save_as(content, enforce_file_format=True)
        except MemoryError:
            raise
        except Exception:  # not DICOM, damaged, or of a kind that cannot be cleaned
            left_out += 1
            continue
        write_bytes(Path(out) / name, content.getvalue())
        written.append(name)
        remarks.update(noticed)
    if left_out:
        remarks.add(Remark("SAC-G097", f"{left_out} files left out: not images that a table can clean."))
    return {"written": written, "remarks": [[r.code, r.message] for r in sorted(remarks, key=lambda r: r.code)]}


def leaks(folder: str | os.PathLike[str], words: Iterable[str]) -> tuple[str, ...]:
    """Which of the words appear, in any letter case or in UTF-16, in the bytes or names of files below a folder."""
    wanted = [w for w in words if len(w) > 2]
    found = set()
    for path in regular_files(Path(folder)):
        raw = path.read_bytes().lower() + path.name.lower().encode()
        found |= {w for w in wanted if w.lower().encode() in raw or w.lower().encode("utf-16-le") in raw}
    return tuple(sorted(found))
