"""Compiled growing and filling of masks against exact distance transforms and scipy."""

from __future__ import annotations

import edt
import numpy as np
import pytest
from scipy import ndimage

from sacroplasty.anatomy.joints import VALUE
from sacroplasty.anatomy.marrow import fill_sacral_marrow
from sacroplasty.anatomy.morphology import filled_slices, within
from sacroplasty.space import Grid, Volume


def sponge(seed: int) -> np.ndarray:
    """Connected blobs that touch the rim and enclose holes."""
    noise = np.random.default_rng(seed).standard_normal((33, 40, 47))
    return ndimage.gaussian_filter(noise, 2) > 0.05


@pytest.mark.parametrize("reach", [0.0, 0.5, 1.0, 1.5, 2.0, 3.125, 4.375, 15.0])
def test_a_grown_mask_is_the_thresholded_distance(reach):
    mask = sponge(0) & sponge(1) & sponge(2)
    assert (within(mask, reach) == (edt.edt(~mask) <= reach)).all()
    assert not within(np.zeros((5, 6, 7), bool), reach).any()


def test_a_ball_too_large_for_a_byte_is_refused():
    with pytest.raises(ValueError, match="0 to 15"):
        within(np.ones((3, 3, 3), bool), 15.5)


def test_holes_of_every_slice_are_filled_as_scipy_does():
    mask = sponge(3)
    filled = np.stack([ndimage.binary_fill_holes(mask[:, :, k]) for k in range(mask.shape[2])], axis=2)
    assert (filled != mask).any()
    assert (filled_slices(mask) == filled).all()


def hollow_sacrum(leak: int) -> tuple[np.ndarray, Volume, np.ndarray, np.ndarray]:
    """A bright block with a canal open at its upper end and a dark void beside it, whose wall has a slit of `leak`
    voxels and half of which is not labelled: labels, CT, canal, void; 1 mm voxels.
    """
    labels = np.zeros((60, 50, 50), np.uint8)
    labels[10:50, 10:40, 5:45] = VALUE["sacrum"]
    canal, void = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    canal[22:36, 24:36, 15:] = True
    void[12:20, 14:36, 10:40] = True
    hu = np.where(labels > 0, 250.0, 50.0)
    hu[canal | void] = 10.0
    if leak:
        hu[10:12, 24 : 24 + leak] = 10.0
    labels[hu < 100] = 0
    labels[:13, :25] = 0
    return labels, Volume(hu.astype(np.float32), Grid.from_affine(labels.shape, np.eye(4))), canal, void


@pytest.mark.parametrize(("leak", "slice_mm"), [(0, 1.0), (3, 5.0)])
def test_dark_marrow_is_filled_and_the_canal_stays_open(leak, slice_mm):
    labels, ct, canal, void = hollow_sacrum(leak)
    assert not (labels[void] > 0).any()
    fill_sacral_marrow(labels, ct, 50.0, slice_mm)
    assert (labels[void] == VALUE["sacrum"]).mean() > 0.95
    assert not (labels[canal] > 0).any()


def test_a_void_between_two_bones_is_nobodys_marrow():
    labels, ct, _, void = hollow_sacrum(0)
    labels[(labels > 0) & (np.arange(50) < 25)[None, :, None]] = VALUE["l5"]
    fill_sacral_marrow(labels, ct, 50.0, 1.0)
    assert not (labels[void] > 0).any()
