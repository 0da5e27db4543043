"""Ways through the lumen: from the canal along a root tunnel to a foramen, and between two openings."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from sacroplasty.anatomy.foramina import LumenSystem, Opening
from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.space import Points

# A root goes on straight this far beyond the foramen.
BEYOND_MM = 8.0
STEP_MM = 0.5
SMOOTHING_MM = 2.0
# Stretch of a tunnel before its mouth that gives its direction.
TUNNEL_END_MM = 6.0
# A way narrower than this counts as this, so that the price stays finite at the wall.
LEAST_ROOM_MM = 0.4


class LumenWays:
    """Cheapest ways through a lumen's voxels (26 neighbours): by length, or keeping to the middle of the bore."""

    def __init__(self, field: SacrumField, system: LumenSystem) -> None:
        self._field = field
        self._voxels = np.argwhere(system.lumen)
        self._node = np.full(system.lumen.shape, -1, dtype=np.int32)
        self._node[tuple(self._voxels.T)] = np.arange(len(self._voxels))
        room = np.maximum(system.room_mm[tuple(self._voxels.T)], LEAST_ROOM_MM)
        starts, ends, lengths = self._edges()
        count = (len(self._voxels),) * 2
        price = lengths * 0.5 * (room[starts] ** -2 + room[ends] ** -2)
        self._by_length = sparse.csr_matrix((lengths, (starts, ends)), shape=count)
        self._by_price = sparse.csr_matrix((price, (starts, ends)), shape=count)
        self._canal = self._node[tuple(system.canal_voxels.T)]

    def _edges(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Neighbouring lumen voxels and the distance between them, each pair once."""
        padded = np.pad(self._node, 1, constant_values=-1)
        starts, ends, lengths = [], [], []
        offsets = [o for o in np.ndindex(3, 3, 3) if o > (1, 1, 1)]
        for offset in offsets:
            neighbour = padded[tuple((self._voxels + offset).T)]
            found = np.flatnonzero(neighbour >= 0)
            starts.append(found.astype(np.int32))
            ends.append(neighbour[found])
            length = self._field.spacing_mm * np.linalg.norm(np.array(offset) - 1)
            lengths.append(np.full(len(found), length))
        return np.concatenate(starts), np.concatenate(ends), np.concatenate(lengths)

    def lengths_mm(self, openings: list[Opening]) -> npt.NDArray[np.float64]:
        """Shortest way (n, n) through the lumen between every two openings, inf where there is none."""
        nodes = [int(self._node[opening.voxel]) for opening in openings]
        found = csgraph.dijkstra(self._by_length, directed=False, indices=nodes, limit=80.0)
        return np.asarray(found[:, nodes])

    def nearest(self, point_mm: Points) -> tuple[tuple[int, int, int], float]:
        """The lumen's voxel nearest to a place (LPS mm) and how far away it is, mm."""
        place = self._field.grid.voxel_from_patient.points(point_mm)
        away = np.linalg.norm(self._voxels - place, axis=1)
        i, j, k = (int(v) for v in self._voxels[int(away.argmin())])
        return (i, j, k), float(away.min()) * self._field.spacing_mm

    @cached_property
    def _before(self) -> npt.NDArray[np.int32]:
        """The voxel before each voxel on its cheapest way from the canal; negative in the canal."""
        found = csgraph.dijkstra(
            self._by_price, directed=False, indices=self._canal, min_only=True, return_predecessors=True
        )
        return np.asarray(found[1])

    def _inner(self, opening: Opening) -> Points:
        """The way (n, 3), LPS mm, from the canal to the voxel behind an opening."""
        chain = [int(self._node[opening.voxel])]
        while self._before[chain[-1]] >= 0:
            chain.append(int(self._before[chain[-1]]))
        return self._field.grid.patient_from_voxel.points(self._voxels[chain[::-1]])

    def along_tunnel(self, opening: Opening) -> Opening:
        """The opening with its axis along the last millimetres of the tunnel, which may leave the bone aslant."""
        line = self._inner(opening)
        back = np.linalg.norm(line - line[-1], axis=1)
        inner = line[back <= TUNNEL_END_MM]
        span = inner[-1] - inner[0]
        if np.linalg.norm(span) < 0.5 * TUNNEL_END_MM:
            return opening
        axis = span / np.linalg.norm(span) + opening.axis
        return replace(opening, axis=axis / np.linalg.norm(axis))

    def course(self, opening: Opening) -> Points:
        """The root's way (n, 3), LPS mm, from the canal's middle through an opening and 8 mm beyond."""
        inner = self._inner(opening)
        outer = opening.centre_mm + opening.axis * np.array([[0.0], [BEYOND_MM / 2], [BEYOND_MM]])
        return smooth_course(np.concatenate([inner, outer]))


def smooth_course(points_mm: Points) -> Points:
    """A polyline (n, 3) resampled every 0.5 mm and smoothed over 2 mm."""
    steps = np.linalg.norm(np.diff(points_mm, axis=0), axis=1)
    keep = np.concatenate([[True], steps > 1e-6])
    points = points_mm[keep]
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    even = np.arange(0, length[-1] + 1e-9, STEP_MM)
    line = np.stack([np.interp(even, length, points[:, axis]) for axis in range(3)], axis=1)
    return np.asarray(ndimage.gaussian_filter1d(line, SMOOTHING_MM / STEP_MM, axis=0, mode="nearest"))
