"""The papers' patients as digital phantoms, through the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sacroplasty.workflow.facts import store_facts
from sacroplasty.workflow.parameters import LesionParameters, SegmentParameters
from sacroplasty.workflow.running import run_all, store_ct
from sacroplasty.workflow.stages import Progress, silent

if TYPE_CHECKING:
    from sacroplasty.case import Case
    from sacroplasty.space import LabelMap

DEMO_BONES = ("sacrum", "coccyx", "l5", "l4", "hip_left", "hip_right", "femur_left", "femur_right")


def demo_case(name: str, folder: Path, progress: Progress = silent) -> Case:
    """The whole job on one of the papers' patients as a digital phantom, its bones given as labels."""
    import shutil

    from sacroplasty.case import CaseFolder
    from sacroplasty.io import write_nifti
    from sacroplasty.lesion import PUBLISHED
    from sacroplasty.phantom import named_case

    progress(0.0, f"Building the digital patient {name}")
    patient = named_case(name, spacing_mm=(1.0, 1.0, 1.0))
    if (folder / "case.json").exists():
        shutil.rmtree(folder)
    stored = CaseFolder.create(folder, name)
    store_ct(stored, patient.ct, {"simulated": True, "phantom": name, "source": patient.source})
    store_facts(stored, PUBLISHED[name])
    mask, labels = folder / "lesion_mask.nii.gz", folder / "bone_labels.nii.gz"
    write_nifti(patient.lesion_mask.resampled(patient.ct.grid), mask)
    write_nifti(_bones(patient.anatomy.labels), labels)
    given = {"segment": SegmentParameters(labels=labels), "lesion": LesionParameters(mask=(mask,))}
    return run_all(stored, given, progress)


def _bones(labels: LabelMap) -> LabelMap:
    """Bones alone, as a network labels them: what lies inside the sacrum is left for the program to find."""
    import numpy as np

    from sacroplasty.space import LabelMap

    kept = {value: name for value, name in labels.names.items() if name in DEMO_BONES}
    return LabelMap(np.where(np.isin(labels.array, list(kept)), labels.array, 0), labels.grid, kept)
