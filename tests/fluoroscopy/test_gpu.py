"""The GPU path: its arithmetic in numba's CUDA simulator, and a refusal where no device is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy import PackedVolume, line_integrals, render
from tests.fluoroscopy.scene import AP, blobs, view
from tests.fluoroscopy.test_radiograph import water_box

# Every main axis, a ray along the body included, and a detector no multiple of a block.
SIMULATED = """
import numpy as np
from sacroplasty.fluoroscopy import PackedVolume, line_integrals
from sacroplasty.fluoroscopy._gpu import PARITY
from sacroplasty.fluoroscopy.joseph import line_integrals_by_ray
from tests.fluoroscopy.scene import ARM, blobs, view
packed = PackedVolume.of(blobs(spacing_mm=20.0))
arm = ARM.with_pixels(6)
for angles in ((180.0, 0.0), (90.0, 0.0), (150.0, 20.0), (180.0, -70.0)):
    posed = view(angles, arm=arm)
    gpu, cpu = line_integrals(packed, posed, device="gpu"), line_integrals_by_ray(packed, posed)
    assert cpu.max() > 0.1, angles
    error = np.sqrt(np.mean((gpu - cpu) ** 2) / np.mean(cpu**2))
    assert error < PARITY, (angles, error)
print("agrees")
"""


def test_the_kernel_agrees_with_the_specification():
    made = subprocess.run(
        [sys.executable, "-c", SIMULATED],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert made.stdout.strip() == "agrees", made.stderr


def test_without_a_device_it_refuses_with_the_remedy():
    from numba import cuda

    if cuda.is_available():
        pytest.skip("a CUDA device is there")
    with pytest.raises(InputError, match=r"No CUDA device.*sacroplasty\[gpu\]"):
        line_integrals(PackedVolume.of(blobs()), view(AP), device="gpu")
    with pytest.raises(InputError, match="No CUDA device"):
        render(water_box(), view(AP), device="gpu")
    with pytest.raises(InputError, match="no such device"):
        line_integrals(PackedVolume.of(blobs()), view(AP), device="tpu")
