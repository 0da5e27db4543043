"""Surfaces for the 3D view: smooth closed meshes of what the labels hold, of lesion, skin and simulated cement."""

from __future__ import annotations

import gzip
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sacroplasty.case import CaseFolder
from sacroplasty.io import write_atomically
from sacroplasty.report.surface import surface_of
from sacroplasty.space import Mask, Points
from sacroplasty.workstation.casebook import Casebook, digest_of, stored_json
from sacroplasty.workstation.images import Images, forget_older
from sacroplasty.workstation.refusals import not_there
from sacroplasty.workstation.warm import Warm

MAGIC, VERSION = b"SPMS", 1
# Smoothing that keeps the volume: voxel steps vanish, the wall moves by a fraction of a voxel.
_SMOOTHING_STEPS = 10
# Taubin's weights: the second undoes the shrinking of the first.
_SHRINK, _GROW = 0.5, -0.53
# Counts up when the meshes of the same mask change: files of an older program are made anew.
_FORMAT = 2
# The skin needs no detail.
_SKIN_MM = 4.0
_MARGIN_MM = 3.0
# Okabe and Ito's colours, which stay apart for the colour-blind.
_KINDS = {
    "sacrum": ("bone", "#56B4E9"), "coccyx": ("bone", "#56B4E9"), "l4": ("bone", "#F0E442"), "l5": ("bone", "#F0E442"),
    "hip_left": ("bone", "#009E73"), "hip_right": ("bone", "#009E73"), "femur_left": ("bone", "#009E73"),
    "femur_right": ("bone", "#009E73"), "si_joint_left": ("joint", "#E69F00"), "si_joint_right": ("joint", "#E69F00"),
    "disc_l5_s1": ("joint", "#E69F00"), "canal": ("canal", "#CC79A7"), "root_tunnel": ("canal", "#CC79A7"),
    "colon": ("organ", "#999999"), "bladder": ("organ", "#999999"), "metal": ("metal", "#FFFFFF"),
}  # fmt: skip
_VESSEL = ("vessel", "#0072B2")


class Surfaces:
    """Meshes of a casebook's cases, made once and kept as files by the casebook."""

    def __init__(self, casebook: Casebook, warm: Warm, images: Images) -> None:
        self.casebook, self.warm, self.images = casebook, warm, images
        self._making: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def described(self, identifier: str) -> list[dict[str, Any]]:
        """Every surface that the case can show."""
        folder = self.casebook.open(identifier)
        found: list[dict[str, Any]] = []

        def add(name: str, kind: str, colour: str, simulated: bool = False) -> None:
            url = f"/api/cases/{identifier}/surfaces/{name}"
            found.append({"name": name, "kind": kind, "colour": colour, "url": url, "simulated": simulated})

        if folder.has("segment"):
            for name in self.images.one(identifier, "labels")["present"]:
                add(name, *_KINDS.get(name, _VESSEL))
            add("skin", "skin", "#E8C9B0")
        if folder.has("lesion"):
            for n in range(1, len(stored_json(self.casebook, identifier, "lesion")) + 1):
                add(f"lesion-{n}", "lesion", "#D55E00")
        if folder.has("cement"):
            add("cement", "cement", "#FFFFFF", simulated=True)
        return found

    def prepare(self, identifier: str) -> None:
        """Make every mesh that the page will ask for."""
        for one in self.described(identifier):
            self.file(identifier, one["name"])

    def file(self, identifier: str, name: str) -> Path:
        """The gzip file of one surface; 404 where there is nothing of this name."""
        folder = self.casebook.open(identifier)
        known = {one["name"] for one in self.described(identifier)}
        if name not in known:
            raise not_there("The case has no such surface", got=repr(name[:40]))
        path = self.casebook.display(identifier, f"mesh-{name}-{_FORMAT}{_digest(folder, name)}", "mesh.gz")
        with self._making[str(path)]:
            if not path.is_file():
                forget_older(path.parent, f"mesh-{name}")
                content = gzip.compress(packed(*smooth_surface(self._mask(identifier, name))), 1, mtime=0)
                write_atomically(path, lambda stream: stream.write(content))
        return path

    def cement_at(self, identifier: str, injected_ml: float) -> bytes:
        """The cloud once a volume was injected; an empty mesh where there is none yet."""
        cloud = self.warm.cement(identifier).cloud_at(injected_ml)
        return packed(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)) if cloud.is_empty() else packed(
            *smooth_surface(cloud)
        )  # fmt: skip

    def _mask(self, identifier: str, name: str) -> Mask:
        if name.startswith("lesion-"):
            return self.warm.lesions(identifier)[int(name.partition("-")[2]) - 1].mask
        if name == "cement":
            cement = self.warm.cement(identifier)
            return cement.cloud_at(cement.injected_ml)
        anatomy = self.warm.anatomy(identifier)
        if name == "skin":
            return anatomy.body.resampled(anatomy.body.grid.resized(_SKIN_MM))
        return anatomy.labels.mask(name)


def _digest(folder: CaseFolder, name: str) -> str:
    stage = "lesion" if name.startswith("lesion-") else "cement" if name == "cement" else "segment"
    return digest_of(folder, stage)


def smooth_surface(mask: Mask) -> tuple[Points, npt.NDArray[np.int64]]:
    """Vertices (n, 3) in LPS mm and outward triangles (m, 3) of a mask, without voxel steps; empty where it is."""
    if mask.is_empty():
        return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
    vertices, faces = surface_of(mask.cropped(mask.grid.box_around(mask.points_mm(), _MARGIN_MM)))
    return smoothed(vertices, faces), faces


def smoothed(vertices: Points, faces: npt.NDArray[np.int64]) -> Points:
    """The vertices (n, 3) moved by Taubin's two steps: towards the mean of their neighbours, then a little back.

    Taubin, A signal processing approach to fair surface design, SIGGRAPH 1995. The weights of every vertex sum to one,
    so that a mesh is smoothed alike wherever it lies.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends = np.concatenate([edges, edges[:, ::-1]])
    joined = sparse.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(vertices),) * 2)
    joined.data[:] = 1.0
    mean = sparse.diags_array(1.0 / np.asarray(joined.sum(axis=1)).ravel()) @ joined
    points = np.array(vertices, dtype=np.float64)
    for step in range(_SMOOTHING_STEPS):
        points += (_SHRINK, _GROW)[step % 2] * (mean @ points - points)
    return points


def packed(vertices: Points, faces: npt.NDArray[np.int64]) -> bytes:
    """The mesh as the page reads it: SPMS, version, counts, float32 corners, uint32 triangles, little endian."""
    head = MAGIC + np.array([VERSION, len(vertices), len(faces)], dtype="<u4").tobytes()
    return head + np.asarray(vertices, dtype="<f4").tobytes() + np.asarray(faces, dtype="<u4").tobytes()
