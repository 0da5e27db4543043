"""Many writers on one registry: each reads a form, waits, and writes it back until every edit of its own is in."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass

from sqlalchemy import select

from sacroplasty.errors import CaseError
from sacroplasty.registry import Patient, edited, open_registry
from sacroplasty.registry.edit import revised, shown


@dataclass(frozen=True)
class Outcome:
    """What one writer did: edits that were accepted, edits that were refused and repeated, CPU seconds."""

    accepted: int
    refused: int
    cpu_s: float


def _write(place: str, identifier: str, edits: int, results: multiprocessing.Queue[Outcome]) -> None:
    engine, accepted, refused = open_registry(place), 0, 0
    started = time.process_time()
    while accepted < edits:
        version, facts = shown(engine, "patient", identifier)
        try:
            revised(engine, "patient", identifier, version, {"birth_year": (facts["birth_year"] or 0) + 1})
            accepted += 1
        except CaseError:
            refused += 1
    engine.dispose()
    results.put(Outcome(accepted, refused, time.process_time() - started))


def compete(place: str, writers: int, edits: int) -> tuple[int, tuple[Outcome, ...]]:
    """Let processes add one to the same number, and return where it ended and what each did."""
    engine = open_registry(place)
    with edited(engine) as session:
        session.add(Patient(pseudonym="P1", birth_year=0))
    with edited(engine) as session:
        identifier = session.scalars(select(Patient.id)).one()
    engine.dispose()
    spawn = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Outcome] = spawn.Queue()
    workers = [spawn.Process(target=_write, args=(place, identifier, edits, results)) for _ in range(writers)]
    for worker in workers:
        worker.start()
    found = tuple(results.get(timeout=3000) for _ in workers)
    for worker in workers:
        worker.join()
    return int(shown(open_registry(place), "patient", identifier)[1]["birth_year"]), found
