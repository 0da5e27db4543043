"""Query, retrieve and store by DICOMweb: QIDO-RS, WADO-RS, STOW-RS, against one allowed address and nothing else."""

from __future__ import annotations

import gzip
import io
import json
import os
import ssl
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pydicom
from pydicom.dataset import Dataset

from sacroplasty.errors import InputError
from sacroplasty.io.pacs import Limits, Quarantine, SeriesFound, quarantined, require_uid
from sacroplasty.io.verdict import rejected

_LARGEST_ANSWER = 20_000_000
_LARGEST_IMAGE = 600_000_000
_BLOCK = 1 << 16


@dataclass(frozen=True)
class WebArchive:
    """A DICOMweb archive: base address, bearer token where it asks for one, and the authority of its certificate.

    Plain http is only taken for this machine itself. Redirects are never followed, so a token goes nowhere else.
    """

    address: str
    token: str = ""
    certificate: Path | None = None
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.scheme not in {"http", "https"} or not parts.hostname or (parts.scheme == "http" and not local):
            raise InputError(
                "A DICOMweb archive needs an https address",
                got=self.address[:80],
                remedy="Use https, or http on this machine alone",
            )
        if parts.username or parts.query or parts.fragment:
            raise InputError("The address must not hold a user, query or fragment", remedy="Give the token apart")


def _ask(archive: WebArchive, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[Any, HTTPResponse]:
    parts = urlsplit(archive.address)
    assert parts.hostname is not None
    link: HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=str(archive.certificate) if archive.certificate else None)
        link = HTTPSConnection(parts.hostname, parts.port, timeout=archive.timeout_s, context=context)
    else:
        link = HTTPConnection(parts.hostname, parts.port, timeout=archive.timeout_s)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if archive.token:
        sent["Authorization"] = f"Bearer {archive.token}"
    try:
        link.request(method, parts.path.rstrip("/") + path, body=body or None, headers=sent)
        answer = link.getresponse()
    except (OSError, HTTPException) as error:
        link.close()
        raise rejected(
            "SAC-G091", "The archive does not answer", got=str(error)[:120], remedy="Try again later"
        ) from error
    if answer.status >= 300:
        link.close()
        what = (
            "The archive sends elsewhere; redirects are not followed" if answer.status < 400 else "The archive refused"
        )
        raise rejected("SAC-G091", what, got=f"HTTP {answer.status}", remedy="Check address, token and rights")
    return link, answer


def find_web_series(archive: WebArchive, *, patient_id: str, most: int = 500) -> tuple[SeriesFound, ...]:
    """Every series of one patient; a patient is always named, never a wildcard."""
    if not patient_id.strip() or set(patient_id) & set("*?\\"):
        raise InputError(
            "A query needs one patient's ID", got=repr(patient_id[:64]), remedy="Give the ID without * or ?"
        )
    path = f"/series?PatientID={quote(patient_id, safe='')}&includefield=00081209&includefield=0020000D&limit={most}"
    link, answer = _ask(archive, "GET", path, Accept="application/dicom+json")
    with closing(link):
        raw = _whole(answer, archive.timeout_s)
    return series_listed(raw, patient_id)


def series_listed(raw: bytes, patient_id: str) -> tuple[SeriesFound, ...]:
    """The series of one patient in an archive's answer; others are left out, and an odd answer is refused."""
    try:
        entries = [Dataset.from_json(entry) for entry in json.loads(raw or b"[]")]
        found = tuple(_series(entry, patient_id) for entry in entries)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pydicom raises nearly anything on odd values
        raise rejected("SAC-G090", "The archive's answer is not DICOM JSON", got=type(error).__name__) from error
    return tuple(s for s in found if s.patient_id == patient_id.strip())


def _whole(answer: HTTPResponse, seconds: float) -> bytes:
    """A short answer's body, within limits of bytes and time."""
    until = time.monotonic() + seconds
    held = bytearray()
    try:
        while block := answer.read1(_BLOCK):
            held += block
            if len(held) > _LARGEST_ANSWER or time.monotonic() > until:
                got = f"over {_LARGEST_ANSWER // 10**6} MB or {seconds:.0f} s"
                raise rejected("SAC-G090", "The archive's answer is too long", got=got)
    except (OSError, HTTPException) as error:
        raise rejected("SAC-G091", "The archive broke off", got=str(error)[:100]) from error
    return bytes(held)


def _series(entry: Dataset, patient_id: str) -> SeriesFound:
    return SeriesFound(
        patient_id=str(entry.get("PatientID", patient_id)).strip(),
        study_uid=require_uid(str(entry.get("StudyInstanceUID", ""))),
        series_uid=require_uid(str(entry.get("SeriesInstanceUID", ""))),
        modality=str(entry.get("Modality", "")),
        description=str(entry.get("SeriesDescription", ""))[:64],
        images=int(entry.get("NumberOfSeriesRelatedInstances", 0) or 0),
    )


def get_web_series(
    archive: WebArchive, wanted: SeriesFound, out: str | os.PathLike[str], *, limits: Limits | None = None
) -> Path:
    """Retrieve one series into the new folder `out`: complete and of the right patient and study, or not at all."""
    with quarantined(wanted, out, limits) as quarantine:
        path = f"/studies/{wanted.study_uid}/series/{wanted.series_uid}"
        link, answer = _ask(archive, "GET", path, Accept='multipart/related; type="application/dicom"')
        with closing(link):
            for raw in _parts(answer, quarantine):
                quarantine.keep(raw, counted=True)
    return Path(out)


def _blocks(answer: HTTPResponse, quarantine: Quarantine) -> Iterator[bytes]:
    """The body in blocks, unpacked where it is gzip, with bytes and time counted as they come."""
    packed = (answer.getheader("Content-Encoding") or "").lower()
    if packed not in {"", "identity", "gzip"}:
        raise rejected("SAC-G090", "The archive packs its answer in an unknown way", got=packed[:40])
    stream: Any = gzip.GzipFile(fileobj=answer) if packed == "gzip" else answer
    while True:
        try:
            block = stream.read1(_BLOCK)
        except (OSError, EOFError, HTTPException) as error:
            raise rejected("SAC-G091", "The archive broke off", got=str(error)[:100]) from error
        if not block:
            return
        quarantine.require_within(len(block))
        yield block


def _parts(answer: HTTPResponse, quarantine: Quarantine) -> Iterator[bytes]:
    """The parts of a multipart/related answer, one at a time."""
    kind = answer.getheader("Content-Type") or ""
    marker = next((p.split("=", 1)[1].strip('" ') for p in kind.split(";") if p.strip().startswith("boundary=")), "")
    if not kind.lower().startswith("multipart/related") or not marker:
        raise rejected("SAC-G090", "The archive's answer is not multipart", got=kind[:60])
    boundary = b"--" + marker.encode()
    held = b""
    for block in _blocks(answer, quarantine):
        # Only the new bytes, and what may lie across the seam, are searched.
        start = max(1, len(held) - len(boundary))
        held = (held + block).removeprefix(b"\r\n")
        while (end := held.find(boundary, start)) > 0:
            yield from _content(held[:end])
            held, start = held[end:], 1
        if len(held) > _LARGEST_IMAGE:
            raise rejected("SAC-G090", "One part of the archive's answer is too long")
    if not held.startswith(boundary + b"--"):
        raise rejected("SAC-G091", "The archive's answer ends before its last part")


def _content(part: bytes) -> Iterator[bytes]:
    head, gap, body = part.partition(b"\r\n\r\n")
    if gap and b"--" in head:
        yield body.removesuffix(b"\r\n")


def store_web(archive: WebArchive, objects: Sequence[Dataset]) -> None:
    """Send objects and have each confirmed; InputError where one was not."""
    marker = uuid.uuid5(uuid.NAMESPACE_OID, "|".join(str(ds.SOPInstanceUID) for ds in objects)).hex
    body = io.BytesIO()
    for ds in objects:
        body.write(f"--{marker}\r\nContent-Type: application/dicom\r\n\r\n".encode())
        pydicom.dcmwrite(body, ds, enforce_file_format=True)
        body.write(b"\r\n")
    body.write(f"--{marker}--\r\n".encode())
    link, answer = _ask(
        archive,
        "POST",
        "/studies",
        body.getvalue(),
        Content_Type=f'multipart/related; type="application/dicom"; boundary={marker}',
        Accept="application/dicom+json",
    )
    with closing(link):
        raw = _whole(answer, archive.timeout_s)
    try:
        found = json.loads(raw or b"{}")
        confirmed = {item["00081155"]["Value"][0] for item in found.get("00081199", {}).get("Value", [])}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise rejected("SAC-G090", "The archive's answer is not DICOM JSON", got=type(error).__name__) from error
    missing = [str(ds.SOPInstanceUID) for ds in objects if str(ds.SOPInstanceUID) not in confirmed]
    if missing:
        raise rejected("SAC-G091", "The archive did not confirm every object", got=f"{len(missing)} of {len(objects)}")
