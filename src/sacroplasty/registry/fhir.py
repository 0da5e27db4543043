"""Records as an HL7 FHIR R4 bundle and back.

Each row is one resource: what FHIR has an element for stands there, everything else is an extension of the resource, so
that a bundle gives back every fact. Code for pain: LOINC 72514-3 (0-10 verbal numeric rating). No other code is
invented; causes, treatments and compartments are text.
"""

from __future__ import annotations

import copy
import itertools
import uuid
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import JSON

from sacroplasty.errors import InputError
from sacroplasty.registry.record import Record, facts_of, kinds, parent_of
from sacroplasty.registry.tables import Table
from sacroplasty.registry.tabular import PARENT, Rows, flat, nested

BASE = "urn:sacroplasty:registry"
PAIN_CODE = {"system": "http://loinc.org", "code": "72514-3",
             "display": "Pain severity - 0-10 verbal numeric rating [Score] - Reported"}  # fmt: skip
_SCORE = {"unit": "{score}", "system": "http://unitsofmeasure.org", "code": "{score}"}
_ML = {"unit": "mL", "system": "http://unitsofmeasure.org", "code": "mL"}
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_CLASSES = {"visit": "AMB", "telephone": "VR"}

Path = tuple[str | int, ...]
# Per kind: the resource with its fixed parts, the elements that hold columns, the elements that name the parent.
_PLANS: dict[str, tuple[dict[str, Any], dict[str, Path], tuple[str, ...]]] = {
    "patient": (
        {"resourceType": "Patient", "identifier": [{"system": f"{BASE}:pseudonym"}]},
        {"pseudonym": ("identifier", 0, "value"), "sex": ("gender",), "birth_year": ("birthDate",)}, (),
    ),
    "episode": (
        {"resourceType": "Condition", "clinicalStatus": {"coding": [{"system": _CLINICAL, "code": "active"}]}},
        {"cause": ("code", "text"), "levels": ("bodySite", "*", "text"), "imaging_findings": ("note", 0, "text")}, (),
    ),
    "earlier_treatment": (
        {"resourceType": "Procedure", "status": "completed"},
        {"kind": ("code", "text"), "detail": ("note", 0, "text"), "response": ("outcome", "text")},
        ("reasonReference",),
    ),
    "procedure": (
        {"resourceType": "Procedure", "status": "completed", "code": {"text": "Percutaneous sacroplasty"}},
        {"performed_on": ("performedDateTime",), "filling": ("outcome", "text")}, ("reasonReference",),
    ),
    "checklist_item": (
        {"resourceType": "Observation", "status": "final"},
        {"step": ("code", "text"), "done": ("valueBoolean",)}, ("partOf",),
    ),
    "deposit": (
        {"resourceType": "Device", "status": "active", "type": {"text": "Bone cement deposit"}},
        {"cement_maker": ("manufacturer",), "cement_lot": ("lotNumber",)}, (),
    ),
    "leak": (
        {"resourceType": "Observation", "status": "final", "code": {"text": "Cement outside the target"}},
        {"compartment": ("bodySite", "text"), "modality": ("method", "text"),
         "volume_ml": ("valueQuantity", "value")}, ("partOf",),
    ),
    "event": ({"resourceType": "AdverseEvent", "actuality": "actual"}, {"name": ("event", "text")}, ()),
    "contact": (
        {"resourceType": "Encounter", "status": "finished"},
        {"words": ("reasonCode", 0, "text")}, ("reasonReference",),
    ),
    "pain_score": (
        {"resourceType": "Observation", "status": "final", "code": {"coding": [PAIN_CODE]}},
        {"nrs": ("valueQuantity", "value"), "words": ("note", 0, "text")}, ("focus",),
    ),
}  # fmt: skip


def to_fhir(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A collection bundle of FHIR R4 resources, patients first."""
    rows = flat(records)
    owners = _owners(rows)
    entries: list[dict[str, Any]] = []
    for name, of_kind in rows.items():
        for row in of_kind:
            resource = _resource(name, row, owners[name, row["id"]])
            entries.append({"fullUrl": _url(row["id"]), "resource": resource})
    resources = {entry["fullUrl"]: entry["resource"] for entry in entries}
    for row in rows["deposit"]:
        devices = resources[_url(row[PARENT])].setdefault("focalDevice", [])
        devices.append({"manipulated": {"reference": _url(row["id"])}})
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _uuid(identifier: str) -> str:
    """A row's own UUID; rows that were never stored get one that follows from their place."""
    try:
        return str(uuid.UUID(identifier))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{BASE}:{identifier}"))


def _url(identifier: str) -> str:
    """Where a resource is found in the bundle."""
    return f"urn:uuid:{_uuid(identifier)}"


def _owners(rows: Rows) -> dict[tuple[str, str], tuple[str, str]]:
    """The patient's and the parent's place for each row."""
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    for name, kind in kinds().items():
        parent = parent_of(kind)
        for row in rows[name]:
            above = str(row.get(PARENT) or "")
            patient = owners[parent, above][0] if parent else _url(row["id"])
            owners[name, row["id"]] = (patient, _url(above) if parent else "")
    return owners


def _resource(name: str, row: Record, owner: tuple[str, str]) -> dict[str, Any]:
    template, elements, links = _PLANS[name]
    kind = kinds()[name]
    resource = copy.deepcopy(template)
    resource["id"] = _uuid(row["id"])
    patient, parent = owner
    extensions: list[dict[str, Any]] = [{"url": f"{BASE}:kind", "valueString": name}]
    if parent:
        resource["patient" if name == "deposit" else "subject"] = {"reference": patient}
        extensions.append({"url": f"{BASE}:parent", "valueReference": {"reference": parent}})
        for link in links:
            resource[link] = [{"reference": parent}]
    for column in facts_of(kind):
        value = row.get(column)
        if column == "id" or value is None or value == []:
            continue
        if column in elements:
            _put(resource, elements[column], f"{value:04d}" if column == "birth_year" else value)
        else:
            extensions += _extensions(kind, column, value)
    resource["extension"] = extensions
    _complete(name, resource, row)
    return resource


def _complete(name: str, resource: dict[str, Any], row: Record) -> None:
    """Parts that FHIR asks for and that follow from the facts."""
    if "valueQuantity" in resource:
        resource["valueQuantity"].update(_SCORE if name == "pain_score" else _ML)
    if name == "contact":
        code = _CLASSES.get(row.get("mode") or "", "AMB")
        resource["class"] = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code}
    if name == "deposit" and row.get("cement"):
        resource["deviceName"] = [{"name": row["cement"], "type": "user-friendly-name"}]


def _put(resource: dict[str, Any], path: Path, value: Any) -> None:
    """Set the element at a path; `*` stands for one entry per item of a list."""
    if "*" in path:
        place = path.index("*")
        resource[str(path[0])] = [{str(path[place + 1]): item} for item in value]
        return
    here: Any = resource
    for part, then in itertools.pairwise(path):
        if isinstance(part, int):
            while len(here) <= part:
                here.append({})
            here = here[part]
        else:
            here = here.setdefault(part, [] if isinstance(then, int) else {})
    here[path[-1]] = value


def _extensions(kind: type[Table], column: str, value: Any) -> list[dict[str, Any]]:
    """One extension per value, typed as FHIR asks."""
    url, sort = f"{BASE}:{kind.__tablename__}.{column}", facts_of(kind)[column].type
    if isinstance(sort, JSON):
        return [{"url": url, "valueString": item} for item in value]
    names = {bool: "valueBoolean", int: "valueInteger", float: "valueDecimal", date: "valueDate", str: "valueString"}
    return [{"url": url, names[sort.python_type]: value}]


def from_fhir(bundle: Any) -> list[Record]:
    """The records in a bundle that `to_fhir` made, as another system gave it back; InputError for any other bundle."""
    if not isinstance(bundle, Mapping) or bundle.get("resourceType") != "Bundle":
        raise InputError("The file is not a FHIR bundle", got=str(bundle)[:60])
    rows: Rows = {name: [] for name in kinds()}
    for entry in bundle.get("entry") or []:
        name, row = _row(entry.get("resource") or {})
        rows[name].append(row)
    return nested(rows)


def _row(resource: Mapping[str, Any]) -> tuple[str, Record]:
    extensions = resource.get("extension") or []
    name = next((e.get("valueString") for e in extensions if e.get("url") == f"{BASE}:kind"), None)
    if name not in _PLANS:
        raise InputError("A resource of the bundle is not from a sacroplasty registry",
                         got=f"{resource.get('resourceType')} {resource.get('id', '')}",
                         remedy="Import it as JSON or CSV after mapping its elements")  # fmt: skip
    kind, elements = kinds()[name], _PLANS[name][1]
    row: Record = {"id": resource.get("id")}
    for column, path in elements.items():
        row[column] = _get(resource, path)
    if row.get("birth_year"):
        row["birth_year"] = int(str(row["birth_year"])[:4])
    for extension in extensions:
        topic, _, column = str(extension.get("url")).removeprefix(f"{BASE}:").partition(".")
        value: Any = next((v for key, v in extension.items() if key.startswith("value")), None)
        if topic == "parent":
            row[PARENT] = str(value["reference"]).rpartition(":")[2]
        elif topic == name and column in facts_of(kind):
            is_list = isinstance(facts_of(kind)[column].type, JSON)
            row[column] = [*row.get(column, []), value] if is_list else value
    return name, row


def _get(resource: Any, path: Path) -> Any:
    """The element at a path, or None where it is absent."""
    here = resource
    for place, part in enumerate(path):
        if part == "*":
            return [_get(item, path[place + 1 :]) for item in here or []]
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            return None
    return here
