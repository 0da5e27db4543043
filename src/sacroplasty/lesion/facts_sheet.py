"""The patient's facts as a sheet a person fills in: TOML or JSON, every field named, nothing guessed."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from enum import Enum
from functools import cache
from typing import Any

from sacroplasty.errors import InputError
from sacroplasty.lesion.facts import PatientFacts

_KINDS = {bool: "true or false", float: "a number", str: "text"}


def facts_from_sheet(text: str) -> PatientFacts:
    """The facts that a sheet tells, TOML or JSON; what is left out stays unknown.

    Raises InputError for text that is neither, a field that does not exist and a value of the wrong kind.
    """
    try:
        data = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except ValueError as error:
        raise InputError(
            "The sheet of facts cannot be read",
            got=str(error),
            remedy="Start from `sacroplasty suitability --template`",
        ) from None
    found = _value(PatientFacts, data, "facts")
    assert isinstance(found, PatientFacts)
    return found


def empty_sheet() -> str:
    """A TOML sheet with every field as a comment to fill in, its kind or the words it may take."""
    return "\n".join(["# Facts about the patient. Take the # away where a fact is known.", *_lines(PatientFacts, "")])


def _lines(kind: type, table: str) -> list[str]:
    """The fields of a class as comments, plain ones first; TOML wants tables last."""
    plain, tables = [], []
    for name, hint in _hints(kind).items():
        each = _item(hint)
        inner = each or _one(hint)
        place = f"{table}{name}"
        if dataclasses.is_dataclass(inner):
            head = f"# [[{place}]]" if each else f"[{place}]"
            words = _lines(typing.cast(type, inner), f"{place}.")
            tables += ["", f"# {(inner.__doc__ or '').splitlines()[0]}", head, *words]
        else:
            plain.append(f"# {name} = {'[' if each else ''}{_said(inner)}{', ...]' if each else ''}")
    return [*plain, *tables]


def _said(kind: Any) -> str:
    """What a field may hold, in words."""
    if issubclass(kind, Enum):
        return " | ".join(json.dumps(str(one.value), ensure_ascii=False) for one in kind)
    return _KINDS[kind]


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _one(hint: Any) -> Any:
    """The type of a field without `None`."""
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _item(hint: Any) -> Any:
    """The type of each item of a field that holds several; None for others."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None


def _value(hint: Any, data: Any, place: str) -> Any:
    """The checked value of a field; InputError where it is of another kind."""
    kind, each = _one(hint), _item(hint)
    if data is None and isinstance(hint, types.UnionType):
        return None
    if each is not None and isinstance(data, list):
        return tuple(_value(each, item, place) for item in data)
    if dataclasses.is_dataclass(kind) and isinstance(data, dict):
        known = _hints(typing.cast(type, kind))
        strange = [name for name in data if name not in known]
        if strange:
            raise InputError(
                f"{place} has no field of this name", got=strange[0], remedy=f"Use one of {', '.join(known)}"
            )
        needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING and f.name not in data]
        if needed:
            raise InputError(f"{place} needs the field {needed[0]}", remedy="Give it, or leave the table out")
        return typing.cast(type, kind)(**{name: _value(known[name], data[name], name) for name in data})
    if each is None and isinstance(kind, type) and issubclass(kind, Enum):
        if data in [one.value for one in kind]:
            return kind(data)
        raise InputError(f"{place} knows no such word", got=repr(data), remedy=f"Use {_said(kind)}")
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
        return float(data)
    if kind in (bool, str) and isinstance(data, kind):
        return data
    wanted = _KINDS.get(kind, "a list" if each is not None else "a table of its own")
    raise InputError(f"{place} needs {wanted}", got=repr(data)[:60])
