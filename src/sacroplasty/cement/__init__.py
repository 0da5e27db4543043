"""Cement: where it flows, where it leaks, how hot it gets, how much is needed.

`inject` is the plain solver on arrays; `simulate_injection` runs a plan in a patient's CT. Everything here is simulated
and says so.
"""

from sacroplasty.cement.dose import DosePlan, plan_dose
from sacroplasty.cement.elasticity import compress
from sacroplasty.cement.ensemble import Ensemble, simulate_ensemble
from sacroplasty.cement.flow import CementFlow, FlowResult, inject
from sacroplasty.cement.heat import Cured, HeatResult, cure, simulate_heat
from sacroplasty.cement.injection import simulate_injection
from sacroplasty.cement.ledger import AttenuationCurve, CementProjection, Ledger, excess_attenuation, keep_ledger
from sacroplasty.cement.material import LesionModel, Material
from sacroplasty.cement.medium import Medium
from sacroplasty.cement.result import CementResult, Front, Leak, Moment
from sacroplasty.cement.rheology import CEMENTS, Cement, PowerLaw, cement_named
from sacroplasty.cement.source import Source
from sacroplasty.cement.stiffness import StiffnessResult, simulate_stiffness
from sacroplasty.cement.stopping import StopTiming, time_leak_to_stop
from sacroplasty.cement.venogram import VenogramResult, simulate_venogram

__all__ = [
    "CEMENTS",
    "AttenuationCurve",
    "Cement",
    "CementFlow",
    "CementProjection",
    "CementResult",
    "Cured",
    "DosePlan",
    "Ensemble",
    "FlowResult",
    "Front",
    "HeatResult",
    "Leak",
    "Ledger",
    "LesionModel",
    "Material",
    "Medium",
    "Moment",
    "PowerLaw",
    "Source",
    "StiffnessResult",
    "StopTiming",
    "VenogramResult",
    "cement_named",
    "compress",
    "cure",
    "excess_attenuation",
    "inject",
    "keep_ledger",
    "plan_dose",
    "simulate_ensemble",
    "simulate_heat",
    "simulate_injection",
    "simulate_stiffness",
    "simulate_venogram",
    "time_leak_to_stop",
]
