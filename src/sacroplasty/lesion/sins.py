"""The Spinal Instability Neoplastic Score, computed from facts; what is not known leaves a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sacroplasty.evidence import value
from sacroplasty.lesion.facts import Alignment, Collapse, Movement, PatientFacts
from sacroplasty.lesion.lesion import Lesion, LesionKind
from sacroplasty.plan import Level

# A lesion holds a level, or the bone beside the canal, from this share on; below it is the rim of a round shape.
TOUCHED = 0.05

_MOVEMENT = {
    Movement.MECHANICAL: "sins_pain_mechanical",
    Movement.NOT_MECHANICAL: "sins_pain_not_mechanical",
    Movement.NONE: "sins_pain_none",
}
_KIND = {
    LesionKind.LYTIC: "sins_lesion_lytic",
    LesionKind.MIXED: "sins_lesion_mixed",
    LesionKind.SCLEROTIC: "sins_lesion_sclerotic",
}
_ALIGNMENT = {
    Alignment.NORMAL: "sins_alignment_normal",
    Alignment.DEFORMITY: "sins_alignment_deformity",
    Alignment.SUBLUXATION: "sins_alignment_subluxation",
}
_WORST = {
    "pain": "sins_pain_mechanical",
    "lesion": "sins_lesion_lytic",
    "alignment": "sins_alignment_subluxation",
    "collapse": "sins_collapse_over_half",
}


@dataclass(frozen=True)
class SinsScore:
    """Points per item as (low, high), equal where the item is known; `keys` are the evidence keys behind them."""

    items: Mapping[str, tuple[int, int]]
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", MappingProxyType(dict(self.items)))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (dict(self.items), self.keys)

    @property
    def low(self) -> int:
        """Total where every unknown item is taken at its best."""
        return sum(low for low, _ in self.items.values())

    @property
    def high(self) -> int:
        """Total where every unknown item is taken at its worst."""
        return sum(high for _, high in self.items.values())

    @property
    def unknown(self) -> tuple[str, ...]:
        """Items that the facts leave open."""
        return tuple(name for name, (low, high) in self.items.items() if low != high)

    @property
    def stability(self) -> str:
        """`stable`, `potentially unstable` or `unstable`, or the two ends where the facts leave it open."""
        ends = [_class(self.low), _class(self.high)]
        return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"

    def describe(self) -> str:
        """Total and class in one phrase."""
        total = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"
        open_items = f"; not known: {', '.join(self.unknown)}" if self.unknown else ""
        return f"{total} of 18 points, {self.stability}{open_items}"


def _class(total: int) -> str:
    if total >= value("suitability.sins_unstable"):
        return "unstable"
    return "potentially unstable" if total >= value("suitability.sins_potentially_unstable") else "stable"


def sins(facts: PatientFacts, lesions: Sequence[Lesion]) -> SinsScore:
    """The highest score among the lesions, items from the facts and from what the images measured."""
    scores = [_one(facts, lesion) for lesion in lesions]
    return max(scores, key=lambda score: (score.high, score.low))


def _one(facts: PatientFacts, lesion: Lesion) -> SinsScore:
    keys = {
        "location": _location(lesion),
        "pain": _MOVEMENT.get(facts.pain.movement) if facts.pain.movement else None,
        "lesion": _KIND.get(lesion.kind),
        "alignment": _ALIGNMENT[facts.alignment] if facts.alignment else None,
        "collapse": _collapse(facts, lesion),
        "posterolateral": _posterolateral(lesion),
    }
    items: dict[str, tuple[int, int]] = {}
    for name, key in keys.items():
        low = int(value(f"suitability.{key}")) if key else 0
        items[name] = (low, low if key else int(value(f"suitability.{_WORST[name]}")))
    return SinsScore(items, tuple(f"suitability.{key or _WORST[name]}" for name, key in keys.items()))


def _location(lesion: Lesion) -> str:
    junctional = max(lesion.levels.get(Level.S1, 0.0), lesion.levels.get(Level.L5, 0.0))
    return "sins_location_junctional" if junctional > TOUCHED else "sins_location_s2_to_s5"


def _collapse(facts: PatientFacts, lesion: Lesion) -> str | None:
    if facts.collapse is Collapse.OVER_HALF:
        return "sins_collapse_over_half"
    if facts.collapse is Collapse.UNDER_HALF:
        return "sins_collapse_under_half"
    if facts.collapse is None:
        return None
    involved = max((v for n, v in lesion.measures.items() if n.startswith("body_involved_")), default=0.0)
    return "sins_no_collapse_half_involved" if involved > 0.5 else "sins_no_collapse"


def _posterolateral(lesion: Lesion) -> str:
    sides = sum(lesion.measures.get(f"posterolateral_{side}", 0.0) > TOUCHED for side in ("left", "right"))
    return ("sins_posterolateral_none", "sins_posterolateral_unilateral", "sins_posterolateral_bilateral")[sides]
