"""Pain over time with every patient's own level: a linear mixed model, fitted by statsmodels (extra `stats`)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sacroplasty.errors import InputError

BASELINE = "baseline"


@dataclass(frozen=True)
class Scored:
    """One score of one patient at one named time."""

    patient: str
    time: str
    nrs: float


@dataclass(frozen=True)
class TimeEffect:
    """Change from baseline at a time with its 95 % interval, and how many patients were scored then."""

    time: str
    patients: int
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class PainOverTime:
    """Baseline level, change at each time, scatter between patients and within them (SD), in NRS points."""

    patients: int
    baseline: float
    effects: tuple[TimeEffect, ...]
    between_sd: float
    within_sd: float


def pain_over_time(scores: Sequence[Scored]) -> PainOverTime:
    """Fit NRS = baseline + time + patient's own level + error by restricted likelihood.

    Uses every score, also of patients who missed a time, and assumes that what is missing does not depend on the pain
    that was not seen. InputError without a baseline, with fewer than three patients, or where the fit fails.
    """
    times = list(dict.fromkeys(one.time for one in scores))
    patients = sorted({one.patient for one in scores})
    if BASELINE not in times or len(times) < 2 or len(patients) < 3:
        raise InputError("A mixed model needs three patients, a baseline and a later time",
                         got=f"{len(patients)} patients at {', '.join(times) or 'no time'}")  # fmt: skip
    if len({(one.patient, one.time) for one in scores}) != len(scores):
        raise InputError("A patient has two scores at one time", remedy="Keep the first of each window")
    later = [time for time in times if time != BASELINE]
    design = np.array([[1.0, *(float(one.time == time) for time in later)] for one in scores])
    fit = _fitted(np.array([one.nrs for one in scores]), design, np.array([one.patient for one in scores]))
    bounds = np.asarray(fit.conf_int())
    effects = tuple(
        TimeEffect(time, sum(one.time == time for one in scores), float(fit.fe_params[n]), *map(float, bounds[n]))
        for n, time in enumerate(later, start=1)
    )
    return PainOverTime(
        len(patients), float(fit.fe_params[0]), effects, float(np.sqrt(max(np.asarray(fit.cov_re)[0, 0], 0.0))),
        float(np.sqrt(fit.scale)),
    )  # fmt: skip


def _fitted(nrs: np.ndarray[Any, Any], design: np.ndarray[Any, Any], groups: np.ndarray[Any, Any]) -> Any:
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM
    except ModuleNotFoundError as error:
        raise InputError("The mixed model needs statsmodels", remedy="Install sacroplasty[stats]") from error
    with warnings.catch_warnings():
        # A patient variance at zero is a result, not a fault; failure to converge is caught below.
        warnings.simplefilter("ignore")
        try:
            fit = MixedLM(nrs, design, groups).fit(reml=True, method=["lbfgs", "bfgs", "powell"])
        except np.linalg.LinAlgError as error:
            raise InputError("The mixed model has no solution for these scores", got=str(error)) from error
    if not fit.converged or not np.isfinite(np.asarray(fit.bse_fe)).all():
        raise InputError("The mixed model did not converge", got=f"{len(nrs)} scores of {len(set(groups))} patients")
    return fit
