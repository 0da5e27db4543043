"""Writes docs/safety/sbom.cdx.json, the bill of materials (CycloneDX 1.6), from requirements.lock.

Usage: python docs/safety/make_sbom.py. Same lock file, same bytes; a test says when it is out of date.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCK, SBOM = ROOT / "requirements.lock", Path(__file__).with_name("sbom.cdx.json")
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.+?))?\s*(?:\\)?$")


def bill(lock: str) -> dict[str, Any]:
    """The bill of a lock file's text; ValueError for a line that pins nothing."""
    components = []
    for line in lock.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", "--hash")):
            continue
        found = _LINE.match(line.strip())
        if found is None:
            raise ValueError(f"a line of the lock file pins nothing: {line}")
        name, version, marker = found["name"].lower().replace("_", "-"), found["version"], found["marker"]
        purl = f"pkg:pypi/{name}@{version}"
        component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        if marker:
            component["properties"] = [{"name": "python:marker", "value": marker}]
        components.append(component)
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "sacroplasty", "name": "sacroplasty"}},
        "components": components,
        "dependencies": [{"ref": "sacroplasty", "dependsOn": [c["bom-ref"] for c in components]}],
    }


def text() -> str:
    """The bill as it stands in the file."""
    return json.dumps(bill(LOCK.read_text(encoding="utf-8")), indent=1) + "\n"


if __name__ == "__main__":
    SBOM.write_text(text(), encoding="utf-8")
