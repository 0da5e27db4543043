"""What a simulated injection means for the operator, in sentences: findings and rules when to stop."""

from __future__ import annotations

from sacroplasty.cement.result import CementResult, Leak
from sacroplasty.evidence import value
from sacroplasty.plan import Finding, Severity

# Cement here presses on nerves or travels with the blood.
GRAVE = ("canal", "foramen", "vein", "artery", "vena cava", "aorta", "root tunnels")


def is_grave(compartment: str) -> bool:
    """Cement in this compartment endangers nerves or embolises."""
    return any(word in compartment for word in GRAVE)


def findings_of(result: CementResult) -> tuple[Finding, ...]:
    """Warnings about leaks, near misses, volume and an early end."""
    return (*_leak_findings(result.leaks), *_near_findings(result), *_volume_findings(result), *_end_findings(result))


def _leak_findings(leaks: tuple[Leak, ...]) -> tuple[Finding, ...]:
    findings = []
    for leak in leaks:
        severity = Severity.WARNING if is_grave(leak.compartment) else Severity.CAUTION
        chance = "" if leak.probability is None else f", in {leak.probability:.0%} of the sampled runs"
        first = "" if leak.first_leak_ml is None else f" from {leak.first_leak_ml:.1f} mL on"
        findings.append(
            Finding(
                severity,
                "cement-leak",
                f"Simulated: {leak.volume_ml:.2f} mL of cement in {leak.compartment}{first}{chance}.",
                leak.compartment,
                evidence=("cement.leak_seen_on_radiograph",),
            )
        )
    return tuple(findings)


def _near_findings(result: CementResult) -> tuple[Finding, ...]:
    alarm, heat = value("cement.leak_alarm_distance"), value("cement.nerve_heat_distance")
    findings = []
    for front in result.fronts:
        if 0 < front.nearest_mm <= alarm:
            findings.append(
                Finding(
                    Severity.CAUTION,
                    "cement-near",
                    f"Simulated: cement comes within {front.nearest_mm:.1f} mm of {front.structure}.",
                    front.structure,
                    evidence=("cement.leak_alarm_distance",),
                )
            )
        if front.nearest_mm <= heat and ("canal" in front.structure or "foramen" in front.structure):
            findings.append(
                Finding(
                    Severity.CAUTION,
                    "cement-heat",
                    f"Simulated: cement within {heat:.0f} mm of {front.structure}; its heat may reach the nerve.",
                    front.structure,
                    evidence=("cement.nerve_heat_distance",),
                )
            )
    return tuple(findings)


def _volume_findings(result: CementResult) -> tuple[Finding, ...]:
    limit = value("cement.session_volume_warning")
    if result.requested_ml <= limit:
        return ()
    return (
        Finding(
            Severity.WARNING,
            "cement-volume",
            f"{result.requested_ml:.1f} mL in one session is above {limit:.0f} mL, where pulmonary cement embolism "
            "that needs oxygen becomes more frequent; more cement did not make the sacrum stronger.",
            evidence=("cement.session_volume_warning", "cement.volume_against_strength"),
        ),
    )


def _end_findings(result: CementResult) -> tuple[Finding, ...]:
    if not result.stopped:
        return ()
    return (
        Finding(
            Severity.WARNING,
            "cement-stopped",
            f"Simulated: the injection ends at {result.injected_ml:.1f} of {result.requested_ml:.1f} mL because "
            f"{result.stopped}.",
            evidence=("assumptions.cement_pressure_cap",),
        ),
    )


def stop_rules_of(result: CementResult) -> tuple[str, ...]:
    """When to stop, in words: at the wished fill, at a leak, near a nerve, at set or too stiff cement."""
    alarm = value("cement.leak_alarm_distance")
    rules = [
        f"Stop when the lesion is filled; simulated, {result.injected_ml:.1f} mL fill {result.lesion_fill:.0%} of it."
    ]
    grave = [f for f in result.fronts if is_grave(f.structure)]
    watch = ", ".join(f.structure for f in grave[:4]) or "canal and foramina"
    rules.append(f"Stop at once when cement comes within {alarm:.0f} mm of {watch}, in either view.")
    for leak in result.leaks[:3]:
        if leak.first_leak_ml is not None:
            rules.append(
                f"Expect {leak.compartment} first at about {leak.first_leak_ml:.1f} mL (simulated): pause there, wait "
                "for the cement to thicken, or move the tip."
            )
    rules.append("Stop when the pressure at the syringe rises sharply or the cement no longer flows by hand.")
    rules.append(f"Do not exceed {value('cement.session_volume_warning'):.0f} mL in one session without a reason.")
    return tuple(rules)
