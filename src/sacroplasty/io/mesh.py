"""Surface meshes in and out: STL and PLY with the coordinate system in the header, as Slicer does."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sacroplasty.io.atomic import write_atomically
from sacroplasty.io.isolation import isolated
from sacroplasty.io.ply import read_ply
from sacroplasty.io.verdict import rejected
from sacroplasty.space import Points

_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_LARGEST_BYTES = 500_000_000
_SPACE = re.compile(rb"SPACE[= ](LPS|RAS)", re.IGNORECASE)


def write_mesh(vertices_mm: Points, faces: npt.NDArray[np.int64], path: str | os.PathLike[str]) -> Path:
    """Write triangles (m, 3) over vertices (n, 3), LPS mm, as .stl (binary) or .ply (text) with SPACE=LPS."""
    target = Path(path)
    if target.suffix == ".ply":
        head = ["ply", "format ascii 1.0", "comment SPACE=LPS", "comment unit mm", f"element vertex {len(vertices_mm)}",
                "property double x", "property double y", "property double z", f"element face {len(faces)}",
                "property list uchar int vertex_indices", "end_header"]  # fmt: skip
        points = [" ".join(f"{v:.6f}" for v in p) for p in vertices_mm]
        triangles = [f"3 {a} {b} {c}" for a, b, c in faces]
        content = "\n".join([*head, *points, *triangles, ""]).encode()
    elif target.suffix == ".stl":
        corners = np.asarray(vertices_mm)[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        table = np.zeros(len(faces), dtype=_FACE)
        table["normal"] = normals / np.where(lengths > 0, lengths, 1)
        table["corners"] = corners
        count = np.uint32(len(faces)).tobytes()
        content = b"sacroplasty SPACE=LPS unit=mm".ljust(80) + count + table.tobytes()
    else:
        raise rejected("SAC-G005", "A mesh is written as .stl or .ply", got=target.name)
    return write_atomically(target, lambda stream: stream.write(content))


def read_mesh(path: str | os.PathLike[str]) -> tuple[Points, npt.NDArray[np.int64]]:
    """Vertices (n, 3), LPS mm, and triangles (m, 3) of an STL or PLY; without SPACE it is LPS, as in Slicer.

    Parsed in the child process. Raises InputError where it is not a whole mesh of triangles.
    """
    source = Path(path)
    if not source.is_file() or source.stat().st_size > _LARGEST_BYTES:
        raise rejected("SAC-G001", "There is no mesh of a plausible size at this path", got=source.name)
    found = isolated("mesh", source)
    vertices, faces = np.asarray(found["vertices"], dtype=np.float64), np.asarray(found["faces"], dtype=np.int64)
    whole = vertices.ndim == faces.ndim == 2 and vertices.shape[1] == faces.shape[1] == 3
    if not whole or not np.isfinite(vertices).all() or faces.min() < 0 or faces.max() >= len(vertices):
        raise rejected("SAC-G003", f"{source.name} holds no usable triangles", remedy="Export the surface again")
    return vertices, faces


def load_mesh(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Vertices and faces by name, LPS mm. Runs in the child process."""
    raw = path.read_bytes()
    try:
        if raw.startswith(b"ply"):
            vertices, faces = read_ply(raw)
        elif len(raw) >= 84 and len(raw) == 84 + 50 * int(np.frombuffer(raw[80:84], "<u4")[0]):
            vertices, faces = _corners(np.frombuffer(raw, _FACE, offset=84)["corners"])
        else:
            numbers = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", raw)
            vertices, faces = _corners(np.array(numbers, dtype=np.float64).reshape(-1, 3, 3))
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise rejected("SAC-G003", f"{path.name} is not a readable mesh", got=str(error)[:100]) from error
    if not len(faces) or not np.isfinite(vertices).all():
        raise rejected("SAC-G003", f"{path.name} holds no usable triangles", remedy="Export the surface again")
    said = _SPACE.search(raw[:400])
    signs = (-1.0, -1.0, 1.0) if said and said.group(1).upper() == b"RAS" else (1.0, 1.0, 1.0)
    return {"vertices": np.asarray(vertices * signs), "faces": faces}


def _corners(corners: npt.NDArray[np.floating]) -> tuple[Points, npt.NDArray[np.int64]]:
    """Triangles (m, 3, 3) with equal corners made one vertex."""
    vertices, index = np.unique(corners.reshape(-1, 3).astype(np.float64), axis=0, return_inverse=True)
    return vertices, index.reshape(-1, 3).astype(np.int64)
