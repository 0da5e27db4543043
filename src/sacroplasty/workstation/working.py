"""A case under work: its notes may be edited meanwhile, what the work rests on may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sacroplasty.case import CaseFolder
from sacroplasty.errors import CaseError
from sacroplasty.workflow import STAGES, downstream
from sacroplasty.workstation.casebook import Casebook, digest_of


class WorkingFolder(CaseFolder):
    """A case whose notes may be edited while a stage is computed: a result is stored if what it was made from stands.

    The revision may have moved on, by patient facts for example; the images and results behind a stage may not.
    """

    @staticmethod
    def begin(path: Path) -> WorkingFolder:
        """The case at the start of the work."""
        found = CaseFolder.open(path)
        return WorkingFolder(found.path, found.index)

    def write(self, stage: str, fill: Callable[[Path], None], *, forget: tuple[str, ...] = (), **facts: object) -> None:
        """Store the result of a stage, unless one of the results behind it was changed meanwhile."""
        current = Casebook(self.path.parent).open(self.path.name)
        source = facts.get("made_from")
        used = tuple(str(name) for name in source) if isinstance(source, dict) else ()
        if digest_of(current, *used) != digest_of(self, *used):
            raise CaseError(
                "What this stage was made from was changed meanwhile", got=", ".join(used), remedy="Run the stage again"
            )
        self.index = current.index
        names = (*forget, *(later for later in _later(stage) if self.has(later)))
        super().write(stage, fill, forget=tuple(dict.fromkeys(names)), **facts)


def _later(name: str) -> tuple[str, ...]:
    return downstream(name) if any(one.name == name for one in STAGES) else ()
