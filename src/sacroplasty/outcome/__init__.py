"""What became of the patient: pain, adverse events, follow-up, the later CT against the plan, statistics."""

from sacroplasty.outcome.adverse_events import AdverseEvent, Grade, Sequelae, Therapy, grades
from sacroplasty.outcome.follow_up import Appointment, Contact, overdue, schedule
from sacroplasty.outcome.meta_analysis import Method, Pooled, exact_interval, logit_rate, pool
from sacroplasty.outcome.pain import PainChange, PainScore, Response, attributed, is_responder, response_of

__all__ = [
    "AdverseEvent",
    "Appointment",
    "Contact",
    "Grade",
    "Method",
    "PainChange",
    "PainScore",
    "Pooled",
    "Response",
    "Sequelae",
    "Therapy",
    "attributed",
    "exact_interval",
    "grades",
    "is_responder",
    "logit_rate",
    "overdue",
    "pool",
    "response_of",
    "schedule",
]
