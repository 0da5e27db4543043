"""Which cases a cohort has: a folder of scans, or a CSV table with one row per case."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sacroplasty import __version__
from sacroplasty.case import file_sha256
from sacroplasty.errors import InputError
from sacroplasty.workflow import FACTS, STAGES, FactsParameters, ReadParameters, repeated

# A case's name becomes a folder's.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
IMAGES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
# Files of one case in a folder of its own, beside each other: CT and the options they stand for.
PARTS = {"labels": "labels", "lesion": "lesion"}
CT_NAMES = ("ct",)


@dataclass(frozen=True)
class Job:
    """One case to run: its CT, the stages, its options as text by their names in `sacroplasty run`.

    `key` is the hash of everything the result depends on: file contents, stages, options, program version.
    """

    name: str
    ct: Path
    stages: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))


@dataclass(frozen=True)
class Option:
    """Where an option goes: its stage ("" for reading the CT, "facts" for the patient), its field and its type."""

    stage: str
    field: str
    kind: Any

    @property
    def is_path(self) -> bool:
        """It names a file, or several."""
        return Path in (self.kind, *typing.get_args(self.kind))

    def parsed(self, text: str) -> Any:
        """The option's value from text; several values are separated by semicolons."""
        kinds = [k for k in typing.get_args(self.kind) if k is not type(None)]
        kind = kinds[0] if isinstance(self.kind, types.UnionType) else self.kind
        try:
            if (each := repeated(kind)) is not None:
                return tuple(each(part) for part in values(text))
            if kind is bool:
                return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}[text.lower()]
            return kind(text)
        except (ValueError, KeyError):
            raise InputError(f"The option {self.field} cannot be read", got=text) from None


def values(text: str) -> tuple[str, ...]:
    """The values of an option that may be repeated, separated by semicolons."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


def known_options() -> dict[str, Option]:
    """Every option of `sacroplasty run` by its name there."""
    options = {}
    for stage, kind in (
        ("", ReadParameters),
        (FACTS, FactsParameters),
        *((one.name, one.parameters) for one in STAGES),
    ):
        hints = typing.get_type_hints(kind)
        for one in dataclasses.fields(kind):
            name = one.metadata["in_run"] or one.name
            options[name] = Option(stage, one.name, hints[one.name])
    return options


def stage_names(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The wanted stages in the order of the workflow; InputError where one is unknown or misses what it needs."""
    known = [stage.name for stage in STAGES]
    strange = [name for name in wanted if name not in known]
    if strange:
        raise InputError("There is no such stage", got=", ".join(strange), remedy=f"Use {', '.join(known)}")
    makers = {stage.gives: stage.name for stage in STAGES}
    for stage in STAGES:
        missing = [makers[n] for n in stage.needs if n in makers and makers[n] not in wanted]
        if stage.name in wanted and missing:
            raise InputError(f"The stage {stage.name} needs {', '.join(missing)}", remedy="Ask for these stages too")
    return tuple(name for name in known if name in wanted)


def read_jobs(path: Path, stages: tuple[str, ...]) -> tuple[Job, ...]:
    """The jobs of a folder or a CSV manifest; InputError where there are none, or names repeat."""
    ordered = stage_names(stages)
    jobs = _from_folder(path, ordered) if path.is_dir() else _from_table(path, ordered)
    if not jobs:
        raise InputError("There is no case", got=str(path), remedy="Give a folder of scans or a CSV with name and ct")
    names = [job.name for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("Cases share a name", got=", ".join(twice), remedy="Give each case a name of its own")
    bad = [name for name in names if not NAME.fullmatch(name)]
    if bad:
        raise InputError("A case's name must be usable as a folder's", got=bad[0], remedy="Use letters, digits, . _ -")
    return jobs


def _stem(path: Path) -> str:
    return path.name.split(".")[0] if path.is_file() else path.name


def _from_folder(folder: Path, stages: tuple[str, ...]) -> tuple[Job, ...]:
    """Every image and every folder in a folder is a case; a folder with ct.* may hold labels.* and lesion.* too."""
    jobs = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_file() and entry.name.endswith(IMAGES):
            jobs.append(Job(_stem(entry), entry, stages))
        elif entry.is_dir():
            parts = {_stem(file): file for file in sorted(entry.iterdir()) if file.is_file()}
            ct = next((parts[name] for name in CT_NAMES if name in parts), entry)
            options = {PARTS[name]: str(file) for name, file in parts.items() if name in PARTS} if ct != entry else {}
            jobs.append(Job(entry.name, ct, stages, options))
    return tuple(jobs)


def _from_table(path: Path, stages: tuple[str, ...]) -> tuple[Job, ...]:
    """Rows of a CSV with the columns name, ct and any option of `sacroplasty run`; paths are relative to the file."""
    if not path.is_file():
        raise InputError("There is no such folder or manifest", got=str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("The manifest is not UTF-8 text", got=str(error), remedy="Save it as UTF-8 CSV") from None
    reader = csv.DictReader(text.splitlines())
    columns = [column for column in reader.fieldnames or () if column]
    known = known_options()
    strange = [c for c in columns if c not in ("name", "ct") and c not in known]
    if not {"name", "ct"} <= set(columns) or strange:
        raise InputError(
            "The manifest needs the columns name and ct, and options of `sacroplasty run`",
            got=", ".join(strange or columns) or "no header",
            remedy=f"Options are {', '.join(sorted(known))}",
        )
    jobs = []
    for row in reader:
        cells = {key: (cell or "").strip() for key, cell in row.items() if key}
        options = {
            key: ";".join(str(_beside(path, part)) for part in values(cell)) if known[key].is_path else cell
            for key, cell in cells.items() if key in known and cell
        }  # fmt: skip
        jobs.append(Job(cells["name"], _beside(path, cells["ct"]), stages, options))
    return tuple(jobs)


def _beside(manifest: Path, cell: str) -> Path:
    return (manifest.parent / cell) if cell else Path()


def keyed(job: Job) -> Job:
    """The job with its key: equal keys give equal results."""
    digest = hashlib.sha256(repr((__version__, job.name, job.stages)).encode())
    digest.update(_content(job.ct).encode())
    known = known_options()
    for name, text in sorted(job.options.items()):
        content = tuple(_content(Path(part)) for part in values(text)) if known[name].is_path else text
        digest.update(repr((name, content)).encode())
    return dataclasses.replace(job, key=digest.hexdigest())


def _content(path: Path) -> str:
    """Hash of a file, or of every file in a folder with its name; what is missing has a hash of its own."""
    if path.is_file():
        return file_sha256(path)
    if path.is_dir() and path != Path():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        parts = [(str(file.relative_to(path)), file_sha256(file)) for file in files]
        return hashlib.sha256(repr(parts).encode()).hexdigest()
    return "missing"
