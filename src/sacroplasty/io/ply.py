"""The PLY format of triangle meshes, as text or binary."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sacroplasty.space import Points

_KINDS = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_LARGEST_HEADER = 20_000


def read_ply(raw: bytes) -> tuple[Points, npt.NDArray[np.int64]]:
    """Vertices (n, 3) and triangles (m, 3); ValueError where the content is not exactly what the header announces.

    Elements must be vertices, then faces of three corners each; other properties of a vertex are passed over.
    """
    order, vertex, face, counts, body = _header(raw)
    if order == "":
        vertices, faces = _from_text(body, counts, [name for name, _ in vertex])
    else:
        table = np.dtype([(name, order + kind) for name, kind in vertex])
        corner = np.dtype([("count", order + face[0]), ("index", order + face[1], 3)])
        if len(body) != counts[0] * table.itemsize + counts[1] * corner.itemsize:
            raise ValueError("other than the announced number of bytes, or faces that are no triangles")
        rows = np.frombuffer(body, table, counts[0])
        vertices = np.stack([rows[axis] for axis in "xyz"], axis=-1).astype(np.float64)
        lists = np.frombuffer(body, corner, counts[1], counts[0] * table.itemsize)
        if (lists["count"] != 3).any():
            raise ValueError("a face is no triangle")
        faces = lists["index"].astype(np.int64)
    if faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise ValueError("a face names a vertex that is not there")
    return vertices, faces


def _header(raw: bytes) -> tuple[str, list[tuple[str, str]], tuple[str, str], tuple[int, int], bytes]:
    """Byte order, the vertex's properties, the types of a face's list, both counts, and what follows the header."""
    head, end, _ = raw[:_LARGEST_HEADER].partition(b"end_header\n")
    if not end:
        raise ValueError("no end of the header")
    words = [line.split() for line in head.decode("latin-1").splitlines()]
    order = _ORDERS[next((w[1] for w in words if w[:1] == ["format"] and len(w) > 1), "not said")]
    elements = [(w[1], int(w[2])) for w in words if w[:1] == ["element"] and len(w) == 3]
    if [name for name, _ in elements] != ["vertex", "face"] or min(count for _, count in elements) < 0:
        raise ValueError("elements must be vertices, then faces")
    lists = [w for w in words if w[:2] == ["property", "list"]]
    if len(lists) != 1 or len(lists[0]) != 5:
        raise ValueError("a face must hold one list")
    start = words.index(next(w for w in words if w[:2] == ["element", "face"]))
    vertex = [(w[2], _KINDS[w[1]]) for w in words[:start] if w[:1] == ["property"] and len(w) == 3]
    other = [w for w in words[start + 1 :] if w[:1] == ["property"] and len(w) == 3]
    if not {"x", "y", "z"} <= {name for name, _ in vertex} or other:
        raise ValueError("a vertex needs x, y and z, and a face nothing but its corners")
    return (
        order,
        vertex,
        (_KINDS[lists[0][2]], _KINDS[lists[0][3]]),
        (elements[0][1], elements[1][1]),
        raw[len(head) + len(end) :],
    )


def _from_text(body: bytes, counts: tuple[int, int], names: list[str]) -> tuple[Points, npt.NDArray[np.int64]]:
    lines = body.split(b"\n")
    if len(lines) < sum(counts):
        raise ValueError("fewer lines than announced")
    rows = np.array([line.split() for line in lines[: counts[0]]], dtype=np.float64).reshape(counts[0], len(names))
    vertices = rows[:, [names.index(axis) for axis in "xyz"]]
    faces = np.array([line.split() for line in lines[counts[0] : sum(counts)]], dtype=np.int64).reshape(counts[1], 4)
    if (faces[:, 0] != 3).any():
        raise ValueError("a face is no triangle")
    return vertices, faces[:, 1:]
