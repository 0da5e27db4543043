"""Values that cannot be written, and how they travel to other processes."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt


def readonly(array: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[np.generic]:
    """A C-contiguous array that cannot be written; the input is copied only where it could still be changed."""
    result = np.asarray(array, dtype=dtype)
    if result.flags.writeable or not result.flags.c_contiguous:
        result = np.array(result, order="C", copy=True)
        result.flags.writeable = False
    return result


def frozen_mapping(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    """A view of a mapping that cannot be written; named so that pickle can find it."""
    return MappingProxyType(content)


def _rebuilt(proxy: MappingProxyType[Any, Any]) -> tuple[Callable[..., MappingProxyType[Any, Any]], tuple[Any, ...]]:
    return frozen_mapping, (dict(proxy),)


# Frozen values hold mapping proxies, which Python cannot pickle by itself; cohort workers need them.
copyreg.pickle(MappingProxyType, _rebuilt)
