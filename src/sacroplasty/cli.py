"""The `sacroplasty` command: one verb per stage."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
