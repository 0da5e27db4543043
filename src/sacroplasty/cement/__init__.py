"""Cement: where it flows, where it leaks, how hot it gets, how much is needed.

`inject` is the plain solver on arrays; `simulate_injection` runs a plan in a patient's CT. Everything here is simulated
and says so.
"""

from sacroplasty.cement.flow import CementFlow, FlowResult, Source, inject
from sacroplasty.cement.injection import simulate_injection
from sacroplasty.cement.material import LesionModel, Material
from sacroplasty.cement.medium import Medium
from sacroplasty.cement.result import CementResult, Front, Leak, Moment
from sacroplasty.cement.rheology import CEMENTS, Cement, PowerLaw, cement_named

__all__ = [
    "CEMENTS",
    "Cement",
    "CementFlow",
    "CementResult",
    "FlowResult",
    "Front",
    "Leak",
    "LesionModel",
    "Material",
    "Medium",
    "Moment",
    "PowerLaw",
    "Source",
    "cement_named",
    "inject",
    "simulate_injection",
]
