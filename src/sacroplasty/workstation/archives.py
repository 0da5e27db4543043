"""The archives a workstation may ask, from `archives.toml` in the folder of cases: nobody can name another address.

One table per archive. DICOM: `host`, `port`, `title`, and `our_title`, `certificate` where needed. DICOMweb: `address`,
and `token_file`, `certificate` where needed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sacroplasty.errors import InputError
from sacroplasty.io.pacs import SeriesFound
from sacroplasty.io.pacs_dimse import Archive, find_series, get_series, store
from sacroplasty.io.pacs_web import WebArchive, find_web_series, get_web_series, store_web

FILE = "archives.toml"


def archives_of(root: Path) -> dict[str, Archive | WebArchive]:
    """The archives by name; none where there is no such file. InputError for an entry that does not fit."""
    path = root / FILE
    if not path.is_file():
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _archive(path.parent, dict(entry)) for name, entry in tables.items()}
    except (tomllib.TOMLDecodeError, TypeError, ValueError, OSError) as error:
        raise InputError(
            f"{FILE} cannot be used", got=str(error)[:200], remedy="See docs/workstation_api.md for its entries"
        ) from error


def _archive(folder: Path, entry: dict[str, Any]) -> Archive | WebArchive:
    if "certificate" in entry:
        entry["certificate"] = folder / str(entry["certificate"])
    if "address" not in entry:
        return Archive(**entry)
    if "token_file" in entry:
        entry["token"] = (folder / str(entry.pop("token_file"))).read_text(encoding="utf-8").strip()
    return WebArchive(**entry)


def series_of(archive: Archive | WebArchive, patient_id: str) -> tuple[SeriesFound, ...]:
    """The series that an archive has of a patient."""
    if isinstance(archive, WebArchive):
        return find_web_series(archive, patient_id=patient_id)
    return find_series(archive, patient_id=patient_id)


def retrieved(archive: Archive | WebArchive, wanted: SeriesFound, out: Path) -> Path:
    """One series in a new folder, complete and of the right patient."""
    return get_web_series(archive, wanted, out) if isinstance(archive, WebArchive) else get_series(archive, wanted, out)


def sent(archive: Archive | WebArchive, objects: Sequence[Any]) -> None:
    """Objects stored in an archive and confirmed one by one."""
    if isinstance(archive, WebArchive):
        store_web(archive, objects)
    else:
        store(archive, objects)
