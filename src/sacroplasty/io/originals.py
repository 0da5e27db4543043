"""Original DICOM objects, opened whole in the child process before the program itself touches them."""

from __future__ import annotations

import os
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from sacroplasty.io.dicom_headers import regular_files
from sacroplasty.io.isolation import isolated

# What decides whether an object on arrival is the one that was asked for.
IDENTITY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def read_originals(folder: str | os.PathLike[str], modality: str) -> tuple[Dataset, ...]:
    """Every image of a modality below a folder, in order of file names; what a child could not read is left out."""
    top = Path(folder)
    found = isolated("originals", top, modality=modality)
    return tuple(pydicom.dcmread(top / name) for name in found if _is_below(top, name))


def _is_below(top: Path, name: str) -> bool:
    return (top / name).resolve().is_relative_to(top.resolve())


def load_originals(folder: Path, modality: str) -> list[str]:
    """Names of the files whose every element can be read and that are placed images of a modality. In the child."""
    found = []
    for path in regular_files(folder):
        try:
            ds = pydicom.dcmread(path)
            ds.decode()
        except MemoryError:
            raise
        except Exception:  # a folder may hold anything beside the series
            continue
        if ds.get("Modality") == modality and "ImagePositionPatient" in ds and "PixelData" in ds:
            found.append(str(path.relative_to(folder)))
    return found


def load_identities(folder: Path) -> dict[str, dict[str, str] | None]:
    """The elements of IDENTITY of every file in a folder, by name; None where it cannot be read. In the child."""
    found: dict[str, dict[str, str] | None] = {}
    for path in regular_files(folder):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            found[path.name] = {name: str(ds.get(name, "")) for name in IDENTITY}
        except MemoryError:
            raise
        except Exception:  # damaged files raise nearly anything
            found[path.name] = None
    return found
