"""Frames, transforms, grids and images.

One world: patient LPS in mm. Every bare array (..., 3) that crosses a function border is patient LPS mm; voxel,
camera and detector coordinates are reached only through a named transform. Affine arithmetic lives in this room alone.
"""

from sacroplasty.space.frame import Frame, Points, Projection, Transform
from sacroplasty.space.frozen import readonly
from sacroplasty.space.grid import Box, Grid, Shape
from sacroplasty.space.image import LabelMap, Mask, Volume
from sacroplasty.space.threads import threaded

__all__ = [
    "Box",
    "Frame",
    "Grid",
    "LabelMap",
    "Mask",
    "Points",
    "Projection",
    "Shape",
    "Transform",
    "Volume",
    "readonly",
    "threaded",
]
