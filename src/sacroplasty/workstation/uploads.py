"""Files that come from the page, kept under names of our own until they are read in a child process."""

from __future__ import annotations

import gzip
import io
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
from starlette.requests import ClientDisconnect

from sacroplasty.errors import InputError
from sacroplasty.space import Grid, Mask
from sacroplasty.workstation.casebook import Casebook
from sacroplasty.workstation.refusals import TOO_MANY, Refused, not_there

# Endings that tell the readers what a file is; everything else is stored as a DICOM file.
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".zip", ".tar.gz", ".tgz", ".tar")
_UPLOAD = re.compile(r"[0-9a-f]{16}")
MOST_UPLOADS, MOST_FILES, LARGEST_BYTES = 32, 6000, 4_000_000_000


def begun(casebook: Casebook) -> str:
    """A new, empty upload; 429 where too many wait."""
    folder = casebook.state / "uploads"
    folder.mkdir(exist_ok=True, mode=0o700)
    if sum(1 for _ in folder.iterdir()) >= MOST_UPLOADS:
        oldest = min(folder.iterdir(), key=lambda one: one.stat().st_mtime)
        shutil.rmtree(oldest, ignore_errors=True)
    identifier = secrets.token_hex(8)
    (folder / identifier).mkdir(mode=0o700)
    return identifier


def folder_of(casebook: Casebook, upload: str) -> Path:
    """Where an upload lies; 404 where there is none."""
    path = casebook.state / "uploads" / upload
    if not _UPLOAD.fullmatch(upload) or not path.is_dir():
        raise not_there("There is no such upload", got=repr(upload[:40]))
    return path


def name_for(number: int, given: str) -> str:
    """Our own name for a file: its number, and of the user's name only a known ending."""
    ending = next((one for one in ENDINGS if unquote(given).lower().endswith(one)), ".dcm")
    return f"{number:05d}{ending}"


async def received(folder: Path, number: int, given: str, stream: AsyncIterator[bytes]) -> int:
    """Write one file as it arrives; what does not come to its end is removed. The number of bytes."""
    if not 0 <= number < MOST_FILES:
        raise Refused(TOO_MANY, "An upload may hold this many files at most", got=str(MOST_FILES))
    used = sum(one.stat().st_size for one in folder.iterdir())
    path, size = folder / name_for(number, given), 0
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as out:
            async for block in stream:
                size += len(block)
                if used + size > LARGEST_BYTES:
                    raise Refused(413, "The upload is too large", got=f"over {LARGEST_BYTES} bytes")
                out.write(block)
        part.replace(path)
    except ClientDisconnect:
        raise Refused(413, "The upload broke off or is too large") from None
    finally:
        part.unlink(missing_ok=True)
    return size


def source_of(folder: Path) -> Path:
    """What the readers are given: the one file, or the folder of many."""
    files = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    if not files:
        raise InputError("The upload holds no file", remedy="Send the files first")
    return files[0] if len(files) == 1 else folder


def mask_from(body: bytes, grid: Grid) -> Mask:
    """A drawn mask: gzip or bare uint8, 0 or 1, i fastest, exactly the grid's size."""
    wanted = int(np.prod(grid.shape))
    content = _unpacked(body, wanted) if body[:2] == b"\x1f\x8b" else body
    if len(content) != wanted:
        raise InputError(
            "The mask does not fill the grid of the labels",
            got=f"{len(content)} bytes for {wanted} voxels",
            remedy="Draw on the image `labels`",
        )
    values: npt.NDArray[np.uint8] = np.frombuffer(content, dtype=np.uint8)
    if values.max(initial=0) > 1:
        raise InputError("A mask holds 0 and 1 alone", got=str(int(values.max())))
    return Mask(values.reshape(grid.shape, order="F") > 0, grid)


def _unpacked(body: bytes, wanted: int) -> bytes:
    """At most what is wanted and one byte more, so that a small body cannot fill the memory."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
            return stream.read(wanted + 1)
    except (OSError, EOFError, ValueError) as error:
        raise InputError("The mask is not readable gzip", got=str(error)[:80]) from error
