"""Records in files: JSON (the registry's own), CSV folder, FHIR R4 bundle, REDCap dictionary with data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sacroplasty.case import from_json, to_json
from sacroplasty.errors import InputError
from sacroplasty.io import write_atomically
from sacroplasty.registry import fhir, redcap, tabular
from sacroplasty.registry.record import Record

FORMATS = ("json", "csv", "fhir", "redcap")
_NAME, _VERSION = "sacroplasty registry", 1


def write_records(records: Iterable[Mapping[str, Any]], place: Path, form: str) -> tuple[Path, ...]:
    """Write records into a new file (json, fhir) or folder (csv, redcap) and return what was written."""
    if place.exists():
        raise InputError("The place to write to exists already", got=str(place), remedy="Give another name")
    texts = _WRITERS[_form(form)](list(records))
    if "" in texts:
        return (_write(place, texts[""]),)
    place.mkdir(parents=True)
    return tuple(_write(place / name, text) for name, text in texts.items())


def read_records(place: Path, form: str) -> list[Record]:
    """The records in a file or folder of the given format; InputError says what cannot be read."""
    if not place.exists():
        raise InputError("There is nothing to import", got=str(place))
    return _READERS[_form(form)](place)


def _form(form: str) -> str:
    if form not in FORMATS:
        raise InputError("The format is unknown", got=form, remedy=f"Use one of {', '.join(FORMATS)}")
    return form


def _write(path: Path, text: str) -> Path:
    return write_atomically(path, lambda stream: stream.write(text.encode()))


def _json(records: list[Mapping[str, Any]]) -> dict[str, str]:
    return {"": to_json({"format": _NAME, "version": _VERSION, "patients": records})}


def _redcap(records: list[Mapping[str, Any]]) -> dict[str, str]:
    return {redcap.DICTIONARY: redcap.dictionary(), redcap.DATA: redcap.data(records)}


def _text(place: Path) -> str:
    try:
        return place.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("The file is not text in UTF-8", got=f"{place.name}: {error}") from error


def _from_json(place: Path) -> list[Record]:
    data = from_json(_text(place), place.name)
    if not isinstance(data, Mapping) or data.get("format") != _NAME or not isinstance(data.get("patients"), list):
        raise InputError("The file is not an export of a registry", got=place.name, remedy="See `registry export`")
    if data.get("version") != _VERSION:
        raise InputError("The export was written by a newer version", got=str(data.get("version")),
                         remedy="Update sacroplasty")  # fmt: skip
    return [dict(record) for record in data["patients"]]


_WRITERS: dict[str, Callable[[list[Mapping[str, Any]]], dict[str, str]]] = {
    "json": _json, "csv": tabular.to_csv, "fhir": lambda records: {"": to_json(fhir.to_fhir(records))},
    "redcap": _redcap,
}  # fmt: skip
_READERS: dict[str, Callable[[Path], list[Record]]] = {
    "json": _from_json, "csv": tabular.from_csv,
    "fhir": lambda place: fhir.from_fhir(from_json(_text(place), place.name)),
    "redcap": lambda place: redcap.from_data(place / redcap.DATA if place.is_dir() else place),
}  # fmt: skip
