"""Cement: where it flows, where it leaks, how hot it gets, how much is needed.

`inject` is the plain solver on arrays; `simulate_injection` runs a plan in a patient's CT. Everything here is simulated
and says so.
"""

from sacroplasty.cement.dose import DosePlan, plan_dose
from sacroplasty.cement.elasticity import compress
from sacroplasty.cement.ensemble import Ensemble, simulate_ensemble
from sacroplasty.cement.flow import CementFlow, FlowResult, inject
from sacroplasty.cement.heat import HeatResult, simulate_heat
from sacroplasty.cement.injection import simulate_injection
from sacroplasty.cement.ledger import CementProjection, Ledger, keep_ledger, path_from_attenuation
from sacroplasty.cement.material import LesionModel, Material
from sacroplasty.cement.medium import Medium
from sacroplasty.cement.result import CementResult, Front, Leak, Moment
from sacroplasty.cement.rheology import CEMENTS, Cement, PowerLaw, cement_named
from sacroplasty.cement.source import Source
from sacroplasty.cement.stiffness import StiffnessResult, simulate_stiffness
from sacroplasty.cement.venogram import VenogramResult, simulate_venogram

__all__ = [
    "CEMENTS",
    "Cement",
    "CementFlow",
    "CementProjection",
    "CementResult",
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
    "VenogramResult",
    "cement_named",
    "compress",
    "inject",
    "keep_ledger",
    "path_from_attenuation",
    "plan_dose",
    "simulate_ensemble",
    "simulate_heat",
    "simulate_injection",
    "simulate_stiffness",
    "simulate_venogram",
]
