"""The cases of one folder: which there are, who may be opened, at which revision each stands.

Reading never recovers or repairs a folder: a worker may be writing into it. `recover` does, when nobody writes.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sacroplasty.case import CaseFolder, from_json
from sacroplasty.errors import CaseError
from sacroplasty.workstation.refusals import CONFLICT, NO_REVISION, UNPROCESSABLE, Refused, not_there

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
INDEX = "case.json"
# A worker swaps a committed stage into place within this time.
_SWAP_S = 0.5
# Parsed stage files that are kept.
_PARSED = 64


class Casebook:
    """Case folders under one root, by identifier; `state` is where the workstation keeps its own files.

    With `read_only` nothing is written under the root: what is made for the display lies elsewhere until the end.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root.resolve()
        self.state = self.root / ".workstation"
        self._passing = TemporaryDirectory(prefix="sacroplasty-") if read_only else None
        self.written = Path(self._passing.name) if self._passing else self.state
        self.written.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.parsed: OrderedDict[tuple[str, str, str], Any] = OrderedDict()
        self._keeping = threading.Lock()
        self._locks: dict[str, threading.RLock] = defaultdict(threading.RLock)

    def keep(self, key: tuple[str, str, str], content: Any) -> None:
        """Remember parsed content, the latest few."""
        with self._keeping:
            self.parsed[key] = content
            while len(self.parsed) > _PARSED:
                self.parsed.popitem(last=False)

    def display(self, identifier: str, *parts: str) -> Path:
        """A file that the page draws: as an earlier session left it, else where it is to be made."""
        kept = self.state.joinpath("display", identifier, *parts)
        return kept if kept.is_file() else self.written.joinpath("display", identifier, *parts)

    def identifiers(self) -> tuple[str, ...]:
        """Every case, in the order of names."""
        return tuple(sorted(path.parent.name for path in self.root.glob(f"*/{INDEX}") if self._is_ours(path.parent)))

    def _is_ours(self, path: Path) -> bool:
        return bool(IDENTIFIER.fullmatch(path.name)) and not path.is_symlink() and (path / INDEX).is_file()

    def new_path(self, identifier: str) -> Path:
        """Where a new case goes; refuses a name that is none or is taken."""
        if not IDENTIFIER.fullmatch(identifier):
            raise Refused(
                UNPROCESSABLE,
                "This cannot be a case's identifier",
                got=repr(identifier[:80]),
                remedy="Use letters, digits, dot, dash and underscore; the free name is another field",
            )
        path = self.root / identifier
        if path.exists() or path.is_symlink():
            raise Refused(CONFLICT, "There is a case of this identifier already", got=identifier)
        return path

    def open(self, identifier: str) -> CaseFolder:
        """A case as it is committed now; 404 for everything that is not a case of this casebook."""
        path = self.root / identifier
        if not IDENTIFIER.fullmatch(identifier) or not self._is_ours(path):
            raise not_there("There is no such case", got=repr(identifier[:80]))
        index = from_json((path / INDEX).read_text(encoding="utf-8"), INDEX)
        if not isinstance(index, dict) or not isinstance(index.get("stages"), dict):
            raise CaseError("case.json is not a case's index", got=identifier)
        return CaseFolder(path, index)

    def recover(self, identifier: str) -> None:
        """Finish or discard what a dead writer left in a case."""
        with self._locks[identifier]:
            CaseFolder.open(self.open(identifier).path)

    @contextmanager
    def writing(self, identifier: str, if_match: str | None) -> Iterator[CaseFolder]:
        """The case for one short write by this server, at the revision that the page has seen."""
        wanted = revision_from(if_match)
        with self._locks[identifier]:
            folder = self.open(identifier)
            require_revision(folder, wanted)
            yield folder


def revision_of(folder: CaseFolder) -> int:
    """The number that counts up with every stored change."""
    return int(folder.index["version"])


def revision_from(if_match: str | None) -> int:
    """The revision of an If-Match header; 428 without one."""
    found = re.fullmatch(r'\s*(?:W/)?"?(\d{1,12})"?\s*', if_match or "")
    if not found:
        raise Refused(
            NO_REVISION,
            "A write must say which revision it was made on",
            got=repr((if_match or "")[:40]),
            remedy="Send If-Match with the case's revision",
        )
    return int(found[1])


def require_revision(folder: CaseFolder, wanted: int) -> None:
    """409 unless the case still is what the page has seen."""
    if revision_of(folder) != wanted:
        raise Refused(
            CONFLICT,
            "The case was changed in another window",
            got=f"revision {revision_of(folder)}, this window has {wanted}",
            remedy="Reload it and repeat the step",
        )


def digest_of(folder: CaseFolder, *stages: str) -> str:
    """A short hash of the stored content of stages; changes when any of them does."""
    entries = [(name, sorted(folder.index["stages"].get(name, {}).get("files", {}).items())) for name in stages]
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:20]


def stored_json(casebook: Casebook, identifier: str, stage: str) -> Any:
    """The JSON of a stored stage, checked against its hash when it is first read; not to be changed by the caller.

    404 where the stage was not run.
    """
    deadline = time.monotonic() + _SWAP_S
    while True:
        folder = casebook.open(identifier)
        if not folder.has(stage):
            raise not_there(f"The case has no {stage} yet", remedy=f"Run the stage {stage} first")
        key = (identifier, stage, digest_of(folder, stage))
        if (known := casebook.parsed.get(key)) is not None:
            return known
        try:
            path = folder.file(stage, f"{stage}.json")
            found = from_json(path.read_text(encoding="utf-8"), path.name)
            casebook.keep(key, found)
            return found
        except (CaseError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
