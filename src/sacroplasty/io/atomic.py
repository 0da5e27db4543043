"""Files that are either wholly there or not there at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from sacroplasty.errors import InputError


def write_atomically(path: str | os.PathLike[str], writer: Callable[[BinaryIO], object]) -> Path:
    """Write a file through `writer(stream)`: temporary file beside it, fsync, rename, fsync of the folder.

    A kill or a power cut leaves the old file or the new one, never a part. The file is private (mode 0600). Raises
    InputError where the disk is full or the folder cannot be written; the old file is then untouched.
    """
    target = Path(path)
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            writer(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        temporary = ""
        sync_folder(target.parent)
    except OSError as error:
        raise InputError(
            f"{target.name} cannot be written",
            got=error.strerror or str(error),
            remedy="Free space or choose a folder that can be written; what was there before is unchanged",
        ) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    return target


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file's whole content as `write_atomically` does."""
    return write_atomically(path, lambda stream: stream.write(content))


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make renames in a folder durable; does nothing where the platform cannot open folders."""
    flags = getattr(os, "O_DIRECTORY", None)
    if flags is None:
        return
    handle = os.open(folder, os.O_RDONLY | flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
