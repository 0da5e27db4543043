"""The words the registry's columns use; closed lists are enforced, the others say what can be shared unread."""

from __future__ import annotations

from sacroplasty.plan import Approach, Side

SEX = ("female", "male", "other")
CAUSE = ("lymphoma", "lung", "rectal", "breast", "prostate", "kidney", "myeloma", "other metastasis",
         "osteoporotic insufficiency fracture", "other")  # fmt: skip
SPREAD = ("haematogenous metastasis", "direct invasion", "none")
LESION_KIND = ("lytic", "mixed", "sclerotic", "unclear")
GOAL = ("pain relief", "stability", "both")
PAIN_MECHANISM = ("bony", "neural", "both", "unclear")
GUIDANCE = ("fluoroscopy", "CT", "CT and fluoroscopy", "CT-fluoroscopy suite", "cone-beam CT", "navigation")
POSITION = ("prone", "lateral", "supine")
MODALITY = ("fluoroscopy", "radiograph", "CT", "MRI", "surgery", "not assessable")

LEVELS = (*(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6)), *(f"S{n}" for n in range(1, 6)))
SIDE = tuple(side.value for side in Side)
APPROACH = tuple(approach.value for approach in Approach)
FRACTURE_PLANES = ("left ala, vertical", "right ala, vertical", "transverse", "H-shaped")
IMAGING = ("CT", "MRI", "bone scan", "PET", "radiograph")
PAIN_SITE = ("lower back", "sacrum", "buttock", "perineum", "leg", "groin", "sole")
PAIN_CHARACTER = ("dull", "lancinating", "electric shock", "burning", "shooting", "tingling", "stabbing", "aching")
ALTERNATIVES = ("surgical resection", "radiotherapy", "further radiotherapy", "ablation", "conservative treatment")
RISKS = ("nerve root injury", "nerve root compression by cement", "canal compromise", "cement migration",
         "vessel injury", "visceral injury", "iliac bone damage", "lumbosacral plexus damage", "infection",
         "cement embolism")  # fmt: skip
TREATMENT = ("chemotherapy", "radiotherapy", "chemoradiotherapy", "opioids", "analgesics", "surgery", "vertebroplasty",
             "sacroplasty", "ablation", "caudal epidural steroid injection", "physiotherapy", "bed rest",
             "bisphosphonate")  # fmt: skip
ANTIBIOTIC = ("cefuroxime sodium", "cefazolin sodium", "clindamycin")
VIEWS = ("lateral", "anteroposterior", "inlet", "outlet", "oblique", "multiple projections", "all projections")
STOP_REASON = ("lesion filled", "leak seen", "planned volume reached", "cement too stiff", "pain", "other")
NEEDLE_TIP = ("bevel", "diamond")
COMPARTMENT = ("needle track", "peritumoural vein", "presacral", "epidural vein", "sacral canal", "sacral foramen",
               "SI joint", "L5-S1 disc", "iliac or caval vein", "pulmonary artery", "iliac bone", "soft tissue",
               "peritoneal cavity")  # fmt: skip
EVENT = ("radicular pain", "radicular pain from cement", "nerve root injury", "haematoma", "vessel injury", "infection",
         "cement embolism", "bladder disturbance", "bowel disturbance", "fracture", "fever", "pain flare")  # fmt: skip
INTERVENTION = ("baseline", *TREATMENT)
CONTACT_MODE = ("visit", "telephone")
SATISFACTION = ("worse", "unchanged", "mild improvement", "significant improvement")
CHECKLIST = ("identity and side confirmed", "consent confirmed", "imaging reviewed", "coagulation checked",
             "antibiotic given", "patient positioned", "skin prepared", "fluoroscope draped", "anaesthesia given",
             "incision", "needle at periosteum", "tip in lesion in every view", "stylet removed", "venogram",
             "cement mixed", "injection started", "injection stopped", "needle removed", "final views",
             "neurological check")  # fmt: skip
