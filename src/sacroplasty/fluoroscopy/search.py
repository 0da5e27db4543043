"""A small evolution strategy with covariance adaptation (Hansen 2001), seeded: the global step of registration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Search:
    """How wide, how many and how long: `spread` is one standard deviation per parameter at the start."""

    spread: Vector
    population: int = 16
    iterations: int = 32
    smallest_step: float = 0.03


def minimised(cost: Callable[[Vector], float], start: Vector, how: Search, seed: int) -> tuple[float, Vector]:
    """Lowest cost met and its parameters."""
    rng = np.random.default_rng(seed)
    n, parents = len(start), how.population // 2
    weights = math.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    weights /= weights.sum()
    mass = 1.0 / float((weights**2).sum())
    c_sigma = (mass + 2) / (n + mass + 5)
    damping = 1 + c_sigma + 2 * max(0.0, math.sqrt((mass - 1) / (n + 1)) - 1)
    c_path, c_one = 4.0 / (n + 4), 2.0 / ((n + 1.3) ** 2 + mass)
    c_mean = min(1 - c_one, 2 * (mass - 2 + 1 / mass) / ((n + 2) ** 2 + mass))
    expected = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))
    mean, sigma = np.array(start, dtype=np.float64), 1.0
    shape, step_path, shape_path = np.eye(n), np.zeros(n), np.zeros(n)
    best = (cost(mean), mean)
    for generation in range(how.iterations):
        spread, axes = np.linalg.eigh(shape)
        root = np.sqrt(np.maximum(spread, 1e-12))
        steps = rng.standard_normal((how.population, n)) @ (axes * root).T
        candidates = mean + sigma * steps * how.spread
        costs = np.array([cost(candidate) for candidate in candidates])
        order = np.argsort(costs, kind="stable")[:parents]
        if costs[order[0]] < best[0]:
            best = (float(costs[order[0]]), candidates[order[0]])
        chosen = steps[order]
        move = weights @ chosen
        mean = mean + sigma * move * how.spread
        step_path = (1 - c_sigma) * step_path + math.sqrt(c_sigma * (2 - c_sigma) * mass) * (
            axes @ ((axes.T @ move) / root)
        )
        length = float(np.linalg.norm(step_path))
        calm = length / math.sqrt(1 - (1 - c_sigma) ** (2 * generation + 2)) < (1.4 + 2 / (n + 1)) * expected
        shape_path = (1 - c_path) * shape_path + calm * math.sqrt(c_path * (2 - c_path) * mass) * move
        shape = (
            (1 - c_one - c_mean) * shape
            + c_one * np.outer(shape_path, shape_path)
            + c_mean * (chosen.T * weights) @ chosen
        )
        sigma *= math.exp(c_sigma / damping * (length / expected - 1))
        if sigma * float(root.max()) < how.smallest_step:
            break
    return best
