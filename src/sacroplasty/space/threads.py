"""Compiled kernels in several threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def threaded(work: Callable[[int, int], None], count: int, at_once: int = 1) -> None:
    """Call `work(first, last)` for runs of `at_once` out of `count`, in as many threads as numba may use.

    For kernels compiled with `nogil=True` whose runs write to different places: the result does not depend on the
    number of threads. Numba's own parallel mode takes two to three times as long to compile.
    """
    from numba import get_num_threads  # here: this room is imported by everything, numba is slow to import

    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(lambda first: work(first, min(first + at_once, count)), range(0, count, at_once)))
