"""A case as a folder that can be read without the program: case.json, NIfTI images, one folder per stage.

case.json is the commit point: it names every stage folder with the hashes of its files and is replaced in one step.
A stage is written beside the old one, forced to disk, committed, and then moved into place; opening a case finishes or
discards what a crash left behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sacroplasty import __version__
from sacroplasty.case.audit import append_entry, read_trail
from sacroplasty.case.codec import Heavy, decode, encode, from_json, to_json
from sacroplasty.errors import CaseError, InputError
from sacroplasty.io import read_nifti, write_atomically, write_nifti

SCHEMA_VERSION = 1
INDEX = "case.json"
AUDIT = "audit.jsonl"


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_text(path: Path, text: str) -> None:
    """Replace a small file in one step that survives a power cut."""
    write_atomically(path, lambda stream: stream.write(text.encode()))


def _read_index(path: Path) -> dict[str, Any]:
    """The committed content of case.json; CaseError where there is none that this version can read."""
    if not (path / INDEX).is_file():
        raise CaseError("There is no case", got=str(path), remedy="Make one with `sacroplasty run`")
    index = from_json((path / INDEX).read_text(encoding="utf-8"), f"{path / INDEX}")
    kinds = {"schema_version": int, "version": int, "stages": dict}
    if not isinstance(index, dict) or not all(isinstance(index.get(name), kind) for name, kind in kinds.items()):
        raise CaseError("case.json is not a case's index", got=str(path))
    if index["schema_version"] > SCHEMA_VERSION:
        raise CaseError(
            "The case was written by a newer version",
            got=f"schema {index['schema_version']}, this program knows {SCHEMA_VERSION}",
            remedy="Update sacroplasty",
        )
    return index


class CaseFolder:
    """A case on disk. `index` is the committed content of case.json; `write` adds or replaces one stage."""

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        self.path, self.index = path, index

    @staticmethod
    def create(path: Path, name: str) -> CaseFolder:
        """A new, empty case; CaseError where the folder already holds something else than a case."""
        if path.exists() and not path.is_dir():
            raise CaseError("The case folder is a file", got=str(path), remedy="Give another --out")
        if path.is_dir() and any(path.iterdir()) and not (path / INDEX).exists():
            raise CaseError("The folder is not empty and not a case", got=str(path), remedy="Give another --out")
        with _sentence("The case folder cannot be made"):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
        index = {"schema_version": SCHEMA_VERSION, "package_version": __version__, "name": name, "version": 0,
                 "stages": {}}  # fmt: skip
        _write_text(path / INDEX, to_json(index))
        return CaseFolder(path, index)

    @staticmethod
    def open(path: Path) -> CaseFolder:
        """An existing case, with what a crash left behind finished or discarded."""
        folder = CaseFolder(path, _read_index(path))
        if folder._unfinished():
            # Under the lock, what looks unfinished is not another program's write that is still going on.
            with _locked(path):
                folder.index = _read_index(path)
                folder._recover()
        return folder

    def _unfinished(self) -> bool:
        """A crash, or a write that is going on, left something beside the stages or untold in the trail."""
        left = [*self.path.glob(".*.new"), *self.path.glob(".*.old")]
        return bool(left) or self.index["version"] > self._told()

    def _told(self) -> int:
        return max((e.details.get("version", 0) for e in read_trail(self.path / AUDIT)), default=0)

    def _recover(self) -> None:
        for stage, entry in self.index["stages"].items():
            fresh, current = self._fresh(stage), self.path / stage
            if fresh.exists() and _matches(fresh, entry["files"]) and not _matches(current, entry["files"]):
                self._swap(stage)
        for leftover in (*self.path.glob(".*.new"), *self.path.glob(".*.old")):
            shutil.rmtree(leftover, ignore_errors=True)
        if self.index["version"] > self._told():
            # On a disk that is still full the case must open all the same; it is told when there is room.
            with contextlib.suppress(InputError):
                append_entry(self.path / AUDIT, "finished after a crash", {"version": self.index["version"]})

    def _fresh(self, stage: str) -> Path:
        return self.path / f".{stage}.new"

    def _swap(self, stage: str) -> None:
        current, old = self.path / stage, self.path / f".{stage}.old"
        if current.exists():
            current.replace(old)
        self._fresh(stage).replace(current)
        _sync(self.path)
        shutil.rmtree(old, ignore_errors=True)

    def has(self, stage: str) -> bool:
        """The stage's result is stored."""
        return stage in self.index["stages"]

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        """Refuse to write over a version this process has not seen."""
        with _locked(self.path):
            stored = _read_index(self.path)
            if stored["version"] != self.index["version"]:
                raise CaseError(
                    "The case was changed by another window or program",
                    got=f"version {stored['version']} on disk, {self.index['version']} here",
                    remedy="Open it again and repeat the step",
                )
            yield

    def write(self, stage: str, fill: Callable[[Path], None], *, forget: tuple[str, ...] = (), **facts: object) -> None:
        """Store one stage: `fill(folder)` writes its files; stages in `forget` are removed in the same commit."""
        with self._only_writer():
            stages = {name: entry for name, entry in self.index["stages"].items() if name not in forget}
            files = self._filled(stage, fill)
            stages[stage] = {"files": files, "package_version": __version__, **facts}
            index = {**self.index, "version": self.index["version"] + 1, "stages": stages}
            self._commit(stage, index)
            # From here on the result is stored, and opening the case finishes what fails.
            self.index = index
            with _sentence(f"The {stage} is stored, but the case could not be tidied up", "Open the case again"):
                self._swap(stage)
            for name in forget:
                shutil.rmtree(self.path / name, ignore_errors=True)
            details = {"version": index["version"], "files": files, "forgets": list(forget)}
            append_entry(self.path / AUDIT, f"stage {stage}", details)

    def _commit(self, stage: str, index: dict[str, Any]) -> None:
        """Replace case.json; where that fails, the new stage folder goes, unless the new index got there."""
        try:
            _write_text(self.path / INDEX, to_json(index))
        except BaseException:
            if _read_index(self.path)["version"] != index["version"]:
                shutil.rmtree(self._fresh(stage), ignore_errors=True)
            raise

    def _filled(self, stage: str, fill: Callable[[Path], None]) -> dict[str, str]:
        """Hashes of the files of a new stage folder, all forced to disk; nothing is left of it where that fails."""
        fresh = self._fresh(stage)
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            with _sentence(f"The {stage} cannot be stored"):
                fresh.mkdir()
                fill(fresh)
                files = {str(f.relative_to(fresh)): file_sha256(f) for f in sorted(fresh.rglob("*")) if f.is_file()}
                for name in files:
                    _sync(fresh / name)
                _sync(fresh)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        return files

    def note(self, event: str, details: dict[str, Any]) -> None:
        """Put a decision, override or edit into the audit trail."""
        with _locked(self.path):
            append_entry(self.path / AUDIT, event, details)

    def file(self, stage: str, name: str) -> Path:
        """A stored file after checking its hash; CaseError where it is missing or changed."""
        entry = self.index["stages"].get(stage)
        if entry is None or name not in entry["files"]:
            raise CaseError(f"The case has no {stage}/{name}", remedy=f"Run `sacroplasty {stage}` first")
        path = self.path / stage / name
        if not path.is_file() or file_sha256(path) != entry["files"][name]:
            raise CaseError(
                f"{stage}/{name} is missing or was changed outside the program",
                got=str(path),
                remedy=f"Run `sacroplasty {stage}` again, or restore the folder",
            )
        return path

    def write_value(
        self, stage: str, value: object, *, path: str = "", forget: tuple[str, ...] = (),
        extra: Mapping[str, bytes] | None = None, **facts: object,
    ) -> None:  # fmt: skip
        """Store a value as `<stage>.json` with its images as NIfTI beside it, and `extra` files by name.

        Image files are named by their place in the value; `path` names the value itself.
        """

        def fill(folder: Path) -> None:
            def sink(name: str, image: Heavy) -> str:
                if isinstance(image, np.ndarray):
                    np.save(folder / f"{name}.npy", image, allow_pickle=False)
                    return f"{name}.npy"
                write_nifti(image, folder / f"{name}.nii.gz")
                return f"{name}.nii.gz"

            (folder / f"{stage}.json").write_text(to_json(encode(value, sink, path)), encoding="utf-8")
            for name, content in (extra or {}).items():
                (folder / name).write_bytes(content)

        self.write(stage, fill, forget=forget, **facts)

    def read_value(self, stage: str, kind: Any) -> Any:
        """The value of type `kind` that was stored for a stage."""
        text = self.file(stage, f"{stage}.json").read_text(encoding="utf-8")

        def source(name: str, kind: type) -> Heavy:
            path = self.file(stage, name)
            return np.load(path, allow_pickle=False) if kind is np.ndarray else read_nifti(path, kind)

        return decode(kind, from_json(text, f"{stage}.json"), source)


def _matches(folder: Path, files: dict[str, str]) -> bool:
    return all((folder / name).is_file() and file_sha256(folder / name) == digest for name, digest in files.items())


@contextmanager
def _sentence(what: str, remedy: str = "What was there before is unchanged") -> Iterator[None]:
    """An error of the disk as InputError with what could not be done."""
    try:
        yield
    except OSError as error:
        got = error.strerror or str(error)
        raise InputError(
            what, got=got, remedy=f"Free space or choose a folder that can be written. {remedy}"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time in this folder, across processes; the lock goes with the process that holds it.

    It is given back by name, because a process forked meanwhile would else keep it through the handle it inherited.
    """
    with _sentence("The case cannot be locked for writing"):
        stream = (path / ".lock").open("w")
    with stream:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
            yield
            return
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(stream, fcntl.LOCK_UN)
