"""Points and lines that were placed in 3D Slicer: .mrk.json, and the older .fcsv."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sacroplasty.io.isolation import isolated
from sacroplasty.io.verdict import rejected
from sacroplasty.space import Points

_LARGEST_BYTES = 20_000_000
# The schemas that Slicer itself takes: any 1.x.y. A later major version may mean another thing by the same field.
_SCHEMA = re.compile(r"markups-schema-v1\.\d+\.\d+\.json#*$")
_STATUS = {"undefined", "preview", "defined"}
_SIGNS = {"LPS": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0), "0": (-1.0, -1.0, 1.0), "1": (1.0, 1.0, 1.0)}


@dataclass(frozen=True, eq=False)
class Markup:
    """One markup: kind ("Line", "Fiducial" ...), name, defined control points (n, 3), LPS mm, and their labels."""

    kind: str
    name: str
    points_mm: Points
    labels: tuple[str, ...]


def read_markups(path: str | os.PathLike[str]) -> tuple[Markup, ...]:
    """Every markup in a .mrk.json or .fcsv file, in LPS mm; points that are not defined are left out.

    A .mrk.json must name version 1 of Slicer's markups schema; without coordinate system it is LPS, without unit mm, as
    that schema says. An .fcsv without coordinate system is refused. Parsed in the child process.
    """
    source = Path(path)
    if not source.is_file() or source.stat().st_size > _LARGEST_BYTES:
        raise rejected("SAC-G001", "There is no markups file of a plausible size at this path", got=source.name)
    return tuple(
        Markup(str(one["kind"]), str(one["name"]), _places(one["points"], one["name"]), tuple(map(str, one["labels"])))
        for one in isolated("markups", source)
    )


def load_markups(path: Path) -> list[dict[str, Any]]:
    """Kind, name, points and labels of every markup as plain data, LPS mm. Runs in the child process."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return [_fcsv(text, path.stem)] if path.suffix.lower() == ".fcsv" else _json(text)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"[:120]
        raise rejected("SAC-G003", f"{path.name} is not a readable markups file", got=got) from error


def _places(points: Any, name: str) -> Points:
    """Positions (n, 3); refused where one is not finite."""
    places = np.array(points, dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(places).all():
        raise rejected("SAC-G033", "A markup's position is not finite", got=name[:80])
    return places


def _json(text: str) -> list[dict[str, Any]]:
    content = json.loads(text)
    schema = str(content.get("@schema", ""))
    if not _SCHEMA.search(schema):
        remedy = "Save it again from Slicer 4.13 or later as .mrk.json"
        raise rejected(
            "SAC-G005", "The file does not name a schema of Slicer's markups", got=schema[-80:], remedy=remedy
        )
    found = []
    for one in content["markups"]:
        system = str(one.get("coordinateSystem", "LPS"))
        units = one.get("coordinateUnits", "mm")
        if system not in {"LPS", "RAS"} or (units if isinstance(units, str) else units[0]) != "mm":
            raise rejected("SAC-G050", "The markup is neither in LPS nor RAS mm", got=f"{system}, {units}")
        given = one.get("controlPoints", [])
        if not {p.get("positionStatus", "defined") for p in given} <= _STATUS:
            raise ValueError("a control point's positionStatus is none of the schema's")
        points = [p for p in given if p.get("positionStatus", "defined") == "defined"]
        found.append(_markup(str(one["type"]), str(one.get("name", "")), points, system))
    return found


def _markup(kind: str, name: str, points: list[dict[str, Any]], system: str) -> dict[str, Any]:
    places = np.array([p["position"] for p in points], dtype=np.float64)
    if places.size and places.shape != (len(points), 3):
        raise ValueError("a position has three numbers")
    checked = _places(places * _SIGNS[system] if places.size else places, name)
    return {"kind": kind, "name": name, "points": checked.tolist(), "labels": [str(p.get("label", "")) for p in points]}


def _fcsv(text: str, name: str) -> dict[str, Any]:
    heads = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    values = dict(part.split("=", 1) for part in heads if "=" in part)
    fields = {key.strip(): value.strip() for key, value in values.items()}
    system = fields.get("CoordinateSystem", "")
    columns = [c.strip() for c in fields.get("columns", "").split(",")]
    if system not in _SIGNS or not {"x", "y", "z"} <= set(columns):
        remedy = "Save it again from Slicer as .mrk.json"
        raise rejected(
            "SAC-G050", "The .fcsv does not say its coordinate system and columns", got=system, remedy=remedy
        )
    points = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            row = dict(zip(columns, line.split(","), strict=False))
            points.append({"position": [float(row[axis]) for axis in "xyz"], "label": row.get("label", "")})
    return _markup("Fiducial", name, points, system)
