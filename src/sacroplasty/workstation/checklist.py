"""The timed checklist of a procedure: its steps, the order that matters, and what the times say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sacroplasty.evidence import value
from sacroplasty.workstation.refusals import CONFLICT, UNPROCESSABLE, Refused, not_there

# A clock may be this far ahead of ours.
_AHEAD = timedelta(minutes=2)


@dataclass(frozen=True)
class Step:
    """One step: its key, its words, and the steps that must stand before it; `required` is asked for at the end."""

    key: str
    words: str
    after: tuple[str, ...] = ()
    required: bool = True


STEPS = (
    Step("consent", "Informed consent for the procedure"),
    Step("side_checked", "Patient, level and side checked aloud against the plan"),
    Step("antibiotic", "Antibiotic given intravenously"),
    Step("positioned", "Patient prone and comfortable"),
    Step("prepared", "Skin prepared, C-arm draped"),
    Step("anaesthesia", "Local anaesthesia or sedation"),
    Step("incision", "Small skin incision"),
    Step("needle_in", "Needle advanced to bone", ("incision",)),
    Step("tip_confirmed", "Tip inside the lesion in every view", ("needle_in",)),
    Step("stylet_removed", "Stylet removed", ("needle_in",)),
    Step("venogram", "Venogram with contrast", ("stylet_removed",), required=False),
    Step("cement_mixed", "Cement mixed"),
    Step("injection_start", "Injection begun under AP and lateral view", ("stylet_removed", "cement_mixed")),
    Step("injection_end", "Injection ended", ("injection_start",)),
    Step("needle_out", "Needle removed", ("needle_in",)),
    Step("neuro_check", "Legs, sphincters and sensation examined", ("needle_out",)),
    Step("post_ct", "CT after the procedure", ("needle_out",), required=False),
)
_BY_KEY = {step.key: step for step in STEPS}
Done = Mapping[str, Mapping[str, Any]]


def step_of(key: str) -> Step:
    """A step by key; 404 where there is none."""
    if key not in _BY_KEY:
        raise not_there("The checklist has no such step", got=repr(key[:40]))
    return _BY_KEY[key]


def time_of(done: Done, key: str) -> datetime | None:
    """When a step was done."""
    return datetime.fromisoformat(done[key]["at"]) if key in done else None


def moment(done: Done, key: str) -> datetime:
    """Now, or the time of the step that comes first where the clock was set back by less than it may be off."""
    now = datetime.now(UTC)
    before = [at for earlier in step_of(key).after if (at := time_of(done, earlier)) is not None]
    return max([now, *(at for at in before if at <= now + _AHEAD)])


def require_order(done: Done, key: str, at: datetime) -> None:
    """422 where a step that must come first is missing or later, or the time has not come yet."""
    if at > datetime.now(UTC) + _AHEAD:
        raise Refused(UNPROCESSABLE, "A step cannot be done in the future", got=at.isoformat())
    for earlier in step_of(key).after:
        before = time_of(done, earlier)
        if before is None:
            raise Refused(
                UNPROCESSABLE,
                f"'{step_of(key).words}' comes after '{step_of(earlier).words}', which is not recorded",
                remedy="Record that step first",
            )
        if before > at:
            raise Refused(
                UNPROCESSABLE,
                f"'{step_of(key).words}' cannot be earlier than '{step_of(earlier).words}'",
                got=f"{at.isoformat()} before {before.isoformat()}",
                remedy="Correct the time",
            )


def require_free(done: Done, key: str) -> None:
    """409 where a later step rests on this one."""
    later = [step.words for step in STEPS if key in step.after and step.key in done]
    if later:
        raise Refused(CONFLICT, "A later step rests on this one", got=later[0], remedy="Take that back first")


def minutes_between(done: Done, earlier: str, later: str) -> float | None:
    """Minutes from one step to another; None where one is missing."""
    first, second = time_of(done, earlier), time_of(done, later)
    return None if first is None or second is None else (second - first).total_seconds() / 60


def warnings_of(done: Done) -> list[str]:
    """What the record lacks or the times break, in words."""
    found = []
    lead, wanted = minutes_between(done, "antibiotic", "incision"), value("procedure.antibiotic_lead")
    if "incision" in done and lead is None:
        found.append("Incision without a recorded antibiotic.")
    elif lead is not None and lead < wanted:
        found.append(f"Antibiotic {lead:.0f} minutes before the incision; {wanted:.0f} are wanted.")
    for key, words in (("consent", "consent"), ("side_checked", "check of patient, level and side")):
        if "incision" in done and key not in done:
            found.append(f"Incision without a recorded {words}.")
    if "injection_start" in done and "tip_confirmed" not in done:
        found.append("Cement without a recorded confirmation of the tip in every view.")
    return found


def missing(done: Done) -> list[str]:
    """Required steps that are not recorded."""
    return [step.words for step in STEPS if step.required and step.key not in done]
