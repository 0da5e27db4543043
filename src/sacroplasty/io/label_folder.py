"""A folder with one mask file per structure, as TotalSegmentator writes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from sacroplasty.io.raw import RawImage
from sacroplasty.io.series import load
from sacroplasty.io.verdict import rejected
from sacroplasty.space import Grid

_ENDINGS = (".nii", ".nii.gz", ".nrrd")


def load_label_folder(folder: Path) -> RawImage:
    """One label image of all mask files, each structure named as its file; structures may not overlap."""
    files = sorted(p for p in folder.iterdir() if p.name.endswith(_ENDINGS) and p.is_file() and not p.is_symlink())
    if not files:
        remedy = "Give .nii.gz files, one per structure"
        raise rejected("SAC-G001", "The folder holds no mask files", got=folder.name, remedy=remedy)
    first = load(files[0])
    merged = np.zeros(first.array.shape, dtype=np.uint16)
    names: dict[int, str] = {}
    for value, file in enumerate(files, start=1):
        one = load(file)
        _grid(first).require_same(_grid(one), f"{files[0].name} and {file.name}")
        names[value] = file.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".nrrd")
        inside = one.array != 0
        taken = [int(t) for t in np.unique(merged[inside]) if t]
        if taken:
            got = f"{names[value]} with {', '.join(names[t] for t in taken)}"
            raise rejected("SAC-G063", "Structures overlap", got=got, remedy="Give one label map")
        if len(np.unique(one.array[inside])) > 1:
            raise rejected("SAC-G063", "The mask holds several label values", got=file.name)
        merged[inside] = value
    return replace(first, array=merged, about={**first.about, "label_names": json.dumps(names)})


def _grid(raw: RawImage) -> Grid:
    i, j, k = raw.array.shape
    return Grid.from_affine((i, j, k), raw.affine_lps)
