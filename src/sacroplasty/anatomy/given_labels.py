"""Labels made elsewhere (TotalSegmentator 1 and 2, 3D Slicer, ours) in the words of `STRUCTURES`, and checked."""

from __future__ import annotations

import re

import numpy as np

from sacroplasty.anatomy.structures import STRUCTURES
from sacroplasty.errors import AnatomyError
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import LabelMap, Volume

VALUE = {name: value for value, name in STRUCTURES.items()}

# Lower-case names with underscores, as `_plain` makes them. Vertebrae above L4 are not used by any stage.
_ALIASES = {
    "sacrum": ("sacrum", "vertebrae_s1", "vertebra_s1", "s1", "os_sacrum", "sacral_bone", "vertebrae_sacrum"),
    "coccyx": ("coccyx", "os_coccygis", "coccygeal_bone"),
    "l5": ("l5", "vertebrae_l5", "vertebra_l5", "l5_vertebra", "lumbar_vertebra_5", "vertebral_body_l5"),
    "l4": ("l4", "vertebrae_l4", "vertebra_l4", "l4_vertebra", "lumbar_vertebra_4"),
    "hip": ("hip", "hip_bone", "os_coxae", "innominate", "pelvic_bone", "hemipelvis", "ilium", "iliac_bone"),
    "femur": ("femur", "femoral_bone", "proximal_femur"),
    "iliac_artery": ("iliac_artery", "common_iliac_artery", "iliac_arteries"),
    "iliac_vein": ("iliac_vein", "iliac_vena", "common_iliac_vein", "iliac_veins"),
    "si_joint": ("si_joint", "sacroiliac_joint", "sacro_iliac_joint"),
    "disc_l5_s1": ("disc_l5_s1", "l5_s1_disc", "intervertebral_disc_l5_s1", "disc_l5s1"),
    "canal": ("canal", "sacral_canal"),
    "root_tunnel": ("root_tunnel",),
    "colon": ("colon", "rectum", "sigmoid", "sigmoid_colon", "large_bowel", "bowel"),
    "bladder": ("bladder", "urinary_bladder"),
    "aorta": ("aorta", "abdominal_aorta"),
    "vena_cava": ("vena_cava", "inferior_vena_cava"),
    "metal": ("metal", "implant", "prosthesis"),
}  # fmt: skip
_PAIRED = frozenset({"hip", "femur", "iliac_artery", "iliac_vein", "si_joint"})
_BY_ALIAS = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}
# A hip bone's centre lies this far beside the sacrum's; less than half of it is not a side.
_LEAST_OFFSET_MM = 15.0


def _plain(name: str) -> str:
    """Lower case, one underscore between words."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def structure_of(name: str) -> str | None:
    """The name in `STRUCTURES` of a label's name in another program, or None where no stage uses it."""
    plain = _plain(name)
    if plain in VALUE:
        return plain
    words = plain.split("_")
    side = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
    for place in (-1, 0):
        if len(words) > 1 and words[place] in side:
            rest = "_".join(words[:-1] if place == -1 else words[1:])
            base = _BY_ALIAS.get(rest)
            if base in _PAIRED:
                return f"{base}_{side[words[place]]}"
    base = _BY_ALIAS.get(plain)
    return None if base in _PAIRED else base


def mapped(labels: LabelMap) -> tuple[LabelMap, tuple[Finding, ...]]:
    """The same voxels with values and names of `STRUCTURES`; AnatomyError where no sacrum is among them.

    Names that no stage uses are left out and named in a finding. TotalSegmentator 2 gives S1 apart from the sacrum's
    rest: both become sacrum.
    """
    table = np.zeros(max([int(labels.array.max(initial=0)), *labels.names]) + 1, np.uint8)
    left_out, used = [], set()
    for value, name in labels.names.items():
        structure = structure_of(name)
        if structure is None:
            left_out.append(name)
        else:
            table[value] = VALUE[structure]
            used.add(structure)
    if "sacrum" not in used:
        raise AnatomyError(
            "The given labels name no sacrum",
            got=", ".join(sorted(labels.names.values())) or "no names",
            remedy="Give a names file, or rename the segment to `sacrum`",
        )
    unnamed = sorted(set(np.unique(labels.array).tolist()) - set(labels.names) - {0})
    findings = []
    if left_out or unnamed:
        listed = [*sorted(left_out), *(f"value {v}" for v in unnamed)]
        findings.append(Finding(Severity.INFO, "SAC-A110", f"Labels not used: {', '.join(listed)}"))
    array = table[labels.array]
    if not (array == VALUE["sacrum"]).any():
        raise AnatomyError("The given sacrum label has no voxels", remedy="Check the label value or draw it again")
    return LabelMap(array, labels.grid, STRUCTURES), tuple(findings)


def checked(labels: LabelMap, ct: Volume) -> tuple[Finding, ...]:
    """Findings about believable but odd labels; AnatomyError where sides are swapped or L5 lies below the sacrum."""
    centres = {
        name: labels.grid.patient_from_voxel.points(np.argwhere(labels.array == value).mean(axis=0))
        for value, name in STRUCTURES.items()
        if (labels.array == value).any()
    }
    sacrum = centres["sacrum"]
    for name, centre in centres.items():
        side = 1 if name.endswith("_left") else -1 if name.endswith("_right") else 0
        offset = side * (centre[0] - sacrum[0])
        if side and name.startswith(("hip", "femur", "si_joint")) and offset < _LEAST_OFFSET_MM:
            raise AnatomyError(
                f"The label {name} does not lie on the patient's {name.rsplit('_', 1)[1]}",
                got=f"its centre {centre[0] - sacrum[0]:+.0f} mm beside the sacrum's (left is positive)",
                remedy="The sides are swapped, or the labels were flipped against the CT; export them again",
            )
    if "l5" in centres and centres["l5"][2] < sacrum[2]:
        raise AnatomyError(
            "The label l5 lies below the sacrum",
            got=f"{sacrum[2] - centres['l5'][2]:.0f} mm below",
            remedy="Check the label names, or whether the labels were flipped against the CT",
        )
    return tuple(_outside_bone(labels, ct))


def _outside_bone(labels: LabelMap, ct: Volume) -> list[Finding]:
    findings = []
    for name in ("sacrum", "l5", "hip_left", "hip_right"):
        where = labels.array == VALUE[name]
        if not where.any():
            continue
        points = labels.grid.patient_from_voxel.points(np.argwhere(where))
        values = ct.sampled(points, order=1)
        outside = float((~ct.grid.contains(points)).mean())
        soft = float((values[ct.grid.contains(points)] < -60).mean()) if outside < 1 else 1.0
        bright = float(np.quantile(values, 0.8))
        if outside > 0.02:
            findings.append(_finding(name, f"{outside:.0%} of the given {name} lies outside the CT"))
        if soft > 0.1 or bright < 120:
            findings.append(
                _finding(
                    name,
                    f"The given {name} does not lie on bone: {soft:.0%} of it is darker than -60 HU, "
                    f"its brightest fifth starts at {bright:.0f} HU",
                )
            )
    return findings


def _finding(name: str, message: str) -> Finding:
    return Finding(Severity.WARNING, "SAC-A111", message, name)
