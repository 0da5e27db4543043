"""Cases kept in memory so that a drag or a slider answers at once; each value is read anew when its stage changed."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, cast

from sacroplasty.anatomy import Anatomy
from sacroplasty.case import Case, CaseFolder
from sacroplasty.cement import CementResult, VenogramResult
from sacroplasty.fluoroscopy import Radiograph, Tissues, body_surface
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Plan
from sacroplasty.space import Points, Volume
from sacroplasty.workflow import STAGES, result_types
from sacroplasty.workstation.casebook import Casebook, digest_of
from sacroplasty.workstation.refusals import not_there

# Cases kept: one on the screen and one to compare with.
KEPT = 2


class Warm:
    """Values of the latest cases by case, name and content; safe for many threads, and each value is made once."""

    def __init__(self, casebook: Casebook, kept: int = KEPT) -> None:
        self.casebook, self.kept = casebook, kept
        self._values: OrderedDict[str, dict[str, tuple[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[str, threading.RLock] = defaultdict(threading.RLock)

    def _case(self, identifier: str) -> dict[str, tuple[str, Any]]:
        with self._lock:
            values = self._values.setdefault(identifier, {})
            self._values.move_to_end(identifier)
            while len(self._values) > self.kept:
                self._values.popitem(last=False)
            return values

    def has(self, identifier: str, name: str) -> bool:
        """The value lies in memory, be it the newest or not."""
        return name in self._values.get(identifier, {})

    def value(self, identifier: str, name: str, digest: str, make: Callable[[], Any]) -> Any:
        """The value of a name whose origin has this digest, made if it is not here."""
        values = self._case(identifier)
        found = values.get(name)
        if found is not None and found[0] == digest:
            return found[1]
        with self._making[f"{identifier}/{name}"]:
            found = values.get(name)
            if found is None or found[0] != digest:
                found = values[name] = (digest, make())
            return found[1]

    def stage(self, identifier: str, stage: str) -> Any:
        """The stored value of a stage; 404 where it was not run."""
        folder = self.casebook.open(identifier)
        if not folder.has(stage):
            raise not_there(f"The case has no {stage} yet", remedy=f"Run the stage {stage} first")
        return self.value(identifier, stage, digest_of(folder, stage), lambda: _read(folder, stage))

    def ct(self, identifier: str) -> Volume:
        """The CT."""
        return cast(Volume, self.stage(identifier, "images"))

    def anatomy(self, identifier: str) -> Anatomy:
        """The anatomy."""
        return cast(Anatomy, self.stage(identifier, "segment"))

    def lesions(self, identifier: str) -> tuple[Lesion, ...]:
        """The lesions, the treated one first."""
        return cast(tuple[Lesion, ...], self.stage(identifier, "lesion"))

    def plans(self, identifier: str) -> tuple[Plan, ...]:
        """The plans by rank."""
        return cast(tuple[Plan, ...], self.stage(identifier, "plan"))

    def views(self, identifier: str) -> tuple[Radiograph, ...]:
        """The stored views."""
        return cast(tuple[Radiograph, ...], self.stage(identifier, "views"))

    def cement(self, identifier: str) -> CementResult:
        """The simulated injection."""
        return cast(CementResult, self.stage(identifier, "cement"))

    def venogram(self, identifier: str) -> VenogramResult:
        """The simulated venogram."""
        return cast(VenogramResult, self.stage(identifier, "venogram"))

    def tissues(self, identifier: str) -> Tissues:
        """The CT taken apart for projecting."""
        digest = digest_of(self.casebook.open(identifier), "images")
        return cast(Tissues, self.value(identifier, "tissues", digest, lambda: Tissues.of(self.ct(identifier))))

    def skin(self, identifier: str) -> Points:
        """Points on the skin, for collisions of the C-arm."""
        digest = digest_of(self.casebook.open(identifier), "segment")
        body = self.anatomy(identifier).body
        return cast(Points, self.value(identifier, "skin", digest, lambda: body_surface(body)))

    def case(self, identifier: str) -> Case:
        """The case as far as it has come, from the values kept here."""
        folder = self.casebook.open(identifier)
        case = Case(
            folder.index["name"], self.ct(identifier), source=folder.index["stages"]["images"].get("source", {})
        )
        known = [one for one in STAGES if one.name in result_types() and folder.has(one.name)]
        return case.with_(**{one.gives: self.stage(identifier, one.name) for one in known})


def stage_types() -> dict[str, Any]:
    """The type that each stage of the workstation holds: those of the workflow, the CT, the venogram."""
    return {**result_types(), "images": Volume, "venogram": VenogramResult}


def _read(folder: CaseFolder, stage: str) -> Any:
    return folder.read_value(stage, stage_types()[stage])
