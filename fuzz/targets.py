"""What is fuzzed: every parser of untrusted input, with seeds the program makes itself.

A target takes a file's bytes. It may refuse with the program's own errors; anything else is a find.
"""

from __future__ import annotations

import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from tests.io.made_dicom import body_ct, enhanced, one_slice, save

from sacroplasty.errors import SacroplastyError
from sacroplasty.io import write_mesh, write_nifti, write_nrrd
from sacroplasty.io.child import answer
from sacroplasty.io.markups import load_markups
from sacroplasty.io.mesh import load_mesh
from sacroplasty.io.pacs_web import series_listed
from sacroplasty.io.series import judge, load
from sacroplasty.space import LabelMap, Volume

Target = Callable[[bytes], None]
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def _image(ending: str) -> Target:
    path = _FOLDER / f"a{ending}"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            judge(replace(load(path, modality="CT"), modality="CT"))

    return run


def _file(ending: str, parse: Callable[[Path], object]) -> Target:
    path = _FOLDER / f"b{ending}"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        parse(path)

    return run


def _job(name: str, ending: str) -> Target:
    """A job as the child process answers it: what a parser raises is a sentence there, a crash or hang is not."""
    path, out = _FOLDER / f"{name}{ending}", _FOLDER / f"{name}-out"
    out.mkdir()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            json.dumps(answer(name, path, out, {}), allow_nan=False)

    return run


def _plan(data: bytes) -> None:
    # The case room imports every room below it; only these two targets need it.
    from sacroplasty.case.codec import decode, from_json
    from sacroplasty.plan import Plan

    decode(Plan, from_json(data.decode("utf-8", "replace"), "plan.json"))


def _trail(path: Path) -> None:
    from sacroplasty.case.audit import verify_trail

    verify_trail(path)


TARGETS: dict[str, Target] = {
    "nifti": _image(".nii"),
    "niftigz": _image(".nii.gz"),
    "nrrd": _image(".nrrd"),
    "dicom": _image(".dcm"),
    "archive": _image(".zip"),
    "markups": _file(".mrk.json", load_markups),
    "fcsv": _file(".fcsv", load_markups),
    "mesh": _file(".ply", load_mesh),
    "stl": _file(".stl", load_mesh),
    "segmentation": _job("segmentation", ".dcm"),
    "structures": _job("structures", ".dcm"),
    "listing": lambda data: series_listed(data, "P1"),
    "trail": _file(".jsonl", _trail),
    "plan": _plan,
}
# What a parser may raise; the child process makes a sentence of both.
REFUSALS = (SacroplastyError, MemoryError)


def _objects(name: str, ct: Volume, folder: Path) -> list[bytes]:
    """A DICOM SEG or an RT Structure Set of our own making."""
    # The report room imports every room below it; only these two targets need it.
    from sacroplasty.report.dicom_export import segmentation
    from sacroplasty.report.dicom_source import ct_series, saved
    from sacroplasty.report.dicom_structures import structure_set

    when, source = datetime(2026, 3, 4), ct_series(ct)
    labels = LabelMap((ct.array > 0).astype(np.uint8), ct.grid, {1: "sacrum"})
    made = segmentation(labels, source, when) if name == "segmentation" else None
    return [
        saved(made or structure_set({"sacrum": labels.mask("sacrum")}, source, when), folder / "a.dcm").read_bytes()
    ]


def seeds(name: str) -> list[bytes]:
    """Good files of a target."""
    ct = body_ct((12, 10, 8))
    folder = Path(tempfile.mkdtemp(prefix="seeds-"))
    triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])
    if name in {"nifti", "niftigz"}:
        return [write_nifti(ct, folder / ("a.nii" if name == "nifti" else "a.nii.gz")).read_bytes()]
    if name == "nrrd":
        return [write_nrrd(ct, folder / "a.nrrd").read_bytes()]
    if name == "dicom":
        return [
            save(enhanced(ct), folder / "a.dcm").read_bytes(),
            save(one_slice(ct, 0), folder / "b.dcm").read_bytes(),
        ]
    if name == "archive":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as packed:
            packed.writestr("a.nii", write_nifti(ct, folder / "a.nii").read_bytes())
        return [buffer.getvalue()]
    if name in {"segmentation", "structures"}:
        return _objects(name, ct, folder)
    if name == "listing":
        return [json.dumps([one_slice(ct, 0).to_json_dict(), {"00201209": {"vr": "IS", "Value": [28]}}]).encode()]
    if name in {"mesh", "stl"}:
        return [write_mesh(*triangle, folder / ("a.ply" if name == "mesh" else "a.stl")).read_bytes()]
    if name == "fcsv":
        return [b"# CoordinateSystem = LPS\n# columns = id,x,y,z,label\n1,1.5,2,3,tip\n"]
    if name == "markups":
        point = {"label": "tip", "position": [1.0, 2.0, 3.0], "positionStatus": "defined"}
        markup = {"type": "Line", "coordinateSystem": "RAS", "coordinateUnits": ["mm", "UCUM", "millimeter"],
                  "controlPoints": [point]}  # fmt: skip
        return [json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": [markup]}).encode()]
    if name == "plan":
        needle = {"needle": {"name": "x"}, "trajectory": {"entry_mm": [0, 0, 0], "target_mm": [1, 2, 3]}}
        return [
            json.dumps({"approach": "interpedicular", "side": "left", "needles": [needle], "feasible": True}).encode()
        ]
    return [b'{"number": 1, "time": "t", "event": "e", "details": {}, "previous": "0", "sha256": "0"}\n']
