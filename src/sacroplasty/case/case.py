"""One patient's case: images, anatomy, lesions, plans, views, cement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

from sacroplasty.anatomy import Anatomy
from sacroplasty.cement import CementResult
from sacroplasty.errors import CaseError
from sacroplasty.fluoroscopy import Radiograph
from sacroplasty.lesion import Lesion, Override, PatientFacts, Suitability, Verdict, assess_suitability
from sacroplasty.plan import Finding, Plan
from sacroplasty.space import Volume

# The results in the order they are made; changing one forgets those after it.
RESULTS = ("ct", "anatomy", "lesions", "plans", "views", "cement")


@dataclass(frozen=True, eq=False)
class Case:
    """A case as far as it has come; results not yet made are empty.

    `source` holds where the CT came from (file name, hashes, reader's verdict); `facts` what no image tells of the
    patient, unknown where nobody said; `override` a decision to go on against the judgement.
    """

    name: str
    ct: Volume
    source: Mapping[str, Any] = field(default_factory=dict)
    anatomy: Anatomy | None = None
    lesions: tuple[Lesion, ...] = ()
    plans: tuple[Plan, ...] = ()
    views: tuple[Radiograph, ...] = ()
    cement: CementResult | None = None
    facts: PatientFacts = field(default_factory=PatientFacts)
    override: Override | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", MappingProxyType(dict(self.source)))

    @property
    def lesion(self) -> Lesion | None:
        """The lesion that is treated: the first."""
        return self.lesions[0] if self.lesions else None

    @property
    def plan(self) -> Plan | None:
        """The best feasible plan, else None."""
        return next((plan for plan in self.plans if plan.feasible), None)

    @property
    def suitability(self) -> Suitability | None:
        """The judgement for facts, lesions and best plan; None before there is a lesion.

        An override stays only while there is something to override.
        """
        if self.anatomy is None or not self.lesions:
            return None
        judged = assess_suitability(self.facts, self.anatomy, self.lesions, self.plan)
        if self.override is None or judged.verdict is Verdict.SUITABLE:
            return judged
        return judged.overridden(self.override)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The remarks of every stage so far."""
        parts: list[Finding] = []
        for holder in (self.anatomy, *self.lesions, self.plan, self.cement):
            if holder is not None:
                parts.extend(holder.findings)
        return tuple(parts)

    def with_(self, **results: object) -> Self:
        """A copy with new results; everything downstream of the earliest one is forgotten unless given too."""
        places = [RESULTS.index(name) for name in results if name in RESULTS]
        forgotten: dict[str, object] = {}
        for name in RESULTS[min(places) + 1 :] if places else ():
            forgotten[name] = () if name in {"lesions", "plans", "views"} else None
        return replace(self, **{**forgotten, **results})  # type: ignore[arg-type]

    def require(self, name: str) -> Any:
        """A result by name; CaseError says which stage makes it where it is missing."""
        found = getattr(self, name)
        if found is None or found == ():
            raise CaseError(f"The case has no {name} yet", remedy=f"Run the stage that makes the {name} first")
        return found
