"""ZIP and TAR archives of a series, unpacked without trusting a name or a size in them."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sacroplasty.errors import GeometryError, InputError
from sacroplasty.io.verdict import rejected

MAXIMUM_MEMBERS = 20_000
MAXIMUM_BYTES = 3_000_000_000
# An archive may unpack to this without question, or to this many times its own size; images never shrink further.
FREE_BYTES = 200_000_000
MAXIMUM_RATIO = 50
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
_BLOCK = 1 << 20


def unpacked(path: Path, folder: Path) -> int:
    """Write every plain file of an archive into a folder under a number instead of its name; how many there were.

    Members that are links or devices, or whose names leave the archive, and archives that are too large are refused.
    """
    budget = min(MAXIMUM_BYTES, max(FREE_BYTES, MAXIMUM_RATIO * path.stat().st_size))
    count = 0
    try:
        for name, stream in _members(path):
            count += 1
            if count > MAXIMUM_MEMBERS:
                raise rejected("SAC-G007", "The archive holds too many files", got=f"over {MAXIMUM_MEMBERS}")
            ending = next((e for e in (".nii.gz", ".nii", ".nrrd") if name.lower().endswith(e)), ".dcm")
            with stream, (folder / f"{count:06d}{ending}").open("wb") as out:
                while block := stream.read(_BLOCK):
                    budget -= len(block)
                    if budget < 0:
                        raise rejected("SAC-G007", "The archive unpacks to far more data than its size promises")
                    out.write(block)
    except (MemoryError, InputError, GeometryError):
        raise
    except Exception as error:  # zipfile, tarfile and their decompressors raise many kinds on damaged archives
        remedy = "Pack the series again"
        raise rejected("SAC-G007", "The archive is damaged", got=str(error)[:120], remedy=remedy) from error
    return count


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                # The upper half of the external attributes is the Unix mode; 0o120000 marks a symbolic link.
                link = (info.external_attr >> 16) & 0o170000 == 0o120000
                _require_tame(info.filename, link)
                if not info.is_dir():
                    yield info.filename, archive.open(info)
        return
    with tarfile.open(path) as tar:
        for member in tar:
            _require_tame(member.name, not (member.isfile() or member.isdir()))
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield member.name, stream


def _require_tame(name: str, odd: bool) -> None:
    parts = name.replace("\\", "/").split("/")
    if odd or not name or name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise rejected(
            "SAC-G007",
            "The archive holds links, devices or names that leave it",
            got=repr(name[:60]),
            remedy="Pack the plain files of the series again",
        )
