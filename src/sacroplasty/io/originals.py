"""Original DICOM objects, opened whole in the child process before the program itself touches them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sacroplasty.io.isolation import isolated

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# What decides whether an object on arrival is the one that was asked for.
IDENTITY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def read_originals(folder: str | os.PathLike[str], modality: str) -> tuple[Dataset, ...]:
    """Every image of a modality below a folder, in order of file names; what a child could not read is left out."""
    import pydicom  # here: this module is imported with its room, also by children that parse no DICOM

    top = Path(folder)
    found = isolated("originals", top, modality=modality)
    return tuple(pydicom.dcmread(top / name) for name in found if _is_below(top, name))


def _is_below(top: Path, name: str) -> bool:
    return (top / name).resolve().is_relative_to(top.resolve())


def load_originals(folder: Path, modality: str) -> list[str]:
    """Names of the files whose every element can be read and that are placed images of a modality. In the child."""
    import pydicom

    from sacroplasty.io.dicom_headers import regular_files

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
    import pydicom

    from sacroplasty.io.dicom_headers import regular_files

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
