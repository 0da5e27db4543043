"""The hash-chained trail of what was done to a case: stages run, decisions, overrides, edits."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sacroplasty.errors import CaseError, InputError

GENESIS = "0" * 64


@dataclass(frozen=True)
class AuditEntry:
    """One line of the trail; `sha256` covers the line before and everything in this one."""

    number: int
    time: str
    event: str
    details: dict[str, Any]
    previous: str
    sha256: str


def _digest(number: int, time: str, event: str, details: dict[str, Any], previous: str) -> str:
    text = json.dumps([number, time, event, details, previous], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def append_entry(file: Path, event: str, details: dict[str, Any] | None = None) -> AuditEntry:
    """Add one line, forced to disk before it returns; InputError, and the trail as it was, where that fails."""
    trail = read_trail(file)
    previous = trail[-1].sha256 if trail else GENESIS
    number, time = len(trail) + 1, datetime.now(UTC).isoformat(timespec="seconds")
    entry = AuditEntry(
        number, time, event, details or {}, previous, _digest(number, time, event, details or {}, previous)
    )
    line = (json.dumps(entry.__dict__, sort_keys=True, allow_nan=False) + "\n").encode()
    try:
        _drop_torn_line(file)
        _append_whole(file, line)
    except OSError as error:
        raise InputError(
            "The audit trail cannot be extended",
            got=error.strerror or str(error),
            remedy="Free space or choose a folder that can be written",
        ) from error
    return entry


def _append_whole(file: Path, line: bytes) -> None:
    """The line at the end of the file and forced to disk, or the file as long as it was."""
    with file.open("ab", buffering=0) as stream:
        end = stream.seek(0, os.SEEK_END)
        try:
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                stream.truncate(end)
            raise


def _drop_torn_line(file: Path) -> None:
    """Cut what a power cut left of a line, so that the next entry starts on its own."""
    content = file.read_bytes() if file.exists() else b""
    if content and not content.endswith(b"\n"):
        with file.open("r+b") as stream:
            stream.truncate(content.rfind(b"\n") + 1)


def read_trail(file: Path) -> tuple[AuditEntry, ...]:
    """Every entry in order; a torn last line, as a power cut leaves it, is dropped."""
    if not file.exists():
        return ()
    lines = file.read_bytes().split(b"\n")
    entries = []
    for number, line in enumerate(lines):
        if not line:
            continue
        try:
            entries.append(_entry(json.loads(line.decode("utf-8"))))
        except (ValueError, TypeError, RecursionError) as error:
            if number == len(lines) - 1:
                break
            raise CaseError("The audit trail is not readable", got=f"line {number + 1}: {error}") from error
    return tuple(entries)


def _entry(held: Any) -> AuditEntry:
    entry = AuditEntry(**held)
    texts = (entry.time, entry.event, entry.previous, entry.sha256)
    if type(entry.number) is not int or not all(isinstance(t, str) for t in texts):
        raise TypeError("a number or text of another kind")
    if not isinstance(entry.details, dict) or not isinstance(entry.details.get("version", 0), int):
        raise TypeError("details of another kind")
    return entry


def verify_trail(file: Path, head: str | None = None) -> tuple[AuditEntry, ...]:
    """The entries, after checking that none was edited, removed or moved; CaseError names the first bad line.

    A cut at the end shows only against `head`, the last hash as it was exported.
    """
    previous = GENESIS
    trail = read_trail(file)
    for place, entry in enumerate(trail, start=1):
        expected = _digest(entry.number, entry.time, entry.event, entry.details, entry.previous)
        if entry.number != place or entry.previous != previous or entry.sha256 != expected:
            raise CaseError(
                "The audit trail was changed", got=f"entry {place} of {len(trail)}", remedy="Restore it from a backup"
            )
        previous = entry.sha256
    if head is not None and previous != head:
        raise CaseError("The audit trail does not end at the exported head", got=previous[:12])
    return trail
