"""What both ways to an archive share: what must come back, and the quarantine until it has.

Servers are not trusted: identity, completeness, bytes and time are checked on this side, and nothing leaves the
quarantine folder before everything fits.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from sacroplasty.errors import InputError
from sacroplasty.io.isolation import isolated
from sacroplasty.io.verdict import rejected

_UID = re.compile(r"[0-9]+(\.[0-9]+)*\Z")


@dataclass(frozen=True)
class Limits:
    """Most bytes and seconds that one retrieval may take, and most images that one series may have."""

    bytes: int = 2_000_000_000
    seconds: float = 600.0
    images: int = 5_000


@dataclass(frozen=True)
class SeriesFound:
    """One series as the archive describes it. `images` is the count that must arrive; 0 where it does not say."""

    patient_id: str
    study_uid: str
    series_uid: str
    modality: str = ""
    description: str = ""
    images: int = 0


def require_uid(uid: str) -> str:
    """The UID, or InputError where it is none; unchecked, it never becomes part of a path or an address."""
    if len(uid) > 64 or not _UID.match(uid):
        raise InputError("This is not a DICOM UID", got=repr(uid[:70]), remedy="Copy it from the list of series")
    return uid


@dataclass
class Quarantine:
    """Objects on arrival, kept unread under a number; the child process tells what they are once all are there."""

    wanted: SeriesFound
    folder: Path
    limits: Limits = field(default_factory=Limits)
    count: int = 0
    used_bytes: int = 0
    deadline: float = 0.0

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.limits.seconds

    def keep(self, raw: bytes, counted: bool = False) -> None:
        """Keep one object's bytes; refuses excess. `counted` says that the bytes were counted as they came."""
        self.require_within(0 if counted else len(raw))
        if self.count >= self.limits.images:
            raise _unfit("The archive sent too many images", f"over {self.limits.images}")
        self.count += 1
        (self.folder / f"{self.count:06d}").write_bytes(raw)

    def require_within(self, size: int = 0) -> None:
        """Raise once more bytes or time were used than allowed."""
        self.used_bytes += size
        if self.used_bytes > self.limits.bytes:
            raise _unfit("The archive sent too much data", f"over {self.limits.bytes // 10**6} MB")
        if time.monotonic() > self.deadline:
            raise _unfit("The archive was too slow", f"over {self.limits.seconds:.0f} s")

    def release(self) -> None:
        """Name every object by a hash of its UID; refuses strangers, duplicates and an incomplete series."""
        received: set[str] = set()
        for name, found in isolated("identities", self.folder).items() if self.count else ():
            if found is None:
                raise _unfit("The archive sent an unreadable object", f"object {int(name)} of {self.count}")
            for key, expected in (("PatientID", self.wanted.patient_id), ("StudyInstanceUID", self.wanted.study_uid),
                                  ("SeriesInstanceUID", self.wanted.series_uid)):  # fmt: skip
                if found[key].strip() != expected.strip():
                    raise _unfit(f"The archive sent an image of another {key}", "It was not stored")
            uid = require_uid(found["SOPInstanceUID"])
            if uid in received:
                raise _unfit("The archive sent the same image twice", uid)
            received.add(uid)
            new = f"{hashlib.sha256(uid.encode()).hexdigest()[:32]}.dcm"
            (self.folder / f"{int(name):06d}").rename(self.folder / new)
        if not received or (self.wanted.images and len(received) != self.wanted.images):
            raise _unfit("The series did not arrive complete", f"{len(received)} of {self.wanted.images} images")


def _unfit(what: str, got: str) -> Exception:
    return rejected("SAC-G090", what, got=got, remedy="Nothing was kept; ask the archive's operator, then try again")


@contextmanager
def quarantined(wanted: SeriesFound, out: str | os.PathLike[str], limits: Limits | None = None) -> Iterator[Quarantine]:
    """A quarantine whose content becomes the folder `out` only if the block ends without error and complete."""
    for uid in (wanted.study_uid, wanted.series_uid):
        require_uid(uid)
    target = Path(out)
    if target.exists():
        raise InputError("The folder for the series exists already", got=target.name, remedy="Give a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix=f".{target.name}.", suffix=".quarantine", dir=target.parent))
    try:
        quarantine = Quarantine(wanted, folder, limits or Limits())
        yield quarantine
        quarantine.release()
        folder.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
