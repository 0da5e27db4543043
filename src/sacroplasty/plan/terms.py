"""The field's names for levels, sides and structures, shared by every room."""

from __future__ import annotations

from enum import Enum, StrEnum


class Side(StrEnum):
    """The patient's side, never the viewer's."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"

    @property
    def other(self) -> Side:
        """The opposite side; the midline is its own."""
        return {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}.get(self, self)


class Level(StrEnum):
    """Vertebral level, cranial first."""

    L5 = "L5"
    S1 = "S1"
    S2 = "S2"
    S3 = "S3"
    S4 = "S4"
    S5 = "S5"

    @property
    def below(self) -> Level | None:
        """The next level caudally."""
        levels = list(Level)
        place = levels.index(self) + 1
        return levels[place] if place < len(levels) else None

    @property
    def above(self) -> Level | None:
        """The next level cranially."""
        levels = list(Level)
        place = levels.index(self) - 1
        return levels[place] if place >= 0 else None


SACRAL_LEVELS = (Level.S1, Level.S2, Level.S3, Level.S4, Level.S5)


class State(StrEnum):
    """How a structure's place is known."""

    MEASURED = "measured"
    REOPENED = "re-opened"
    INFERRED = "inferred"
    GIVEN = "given"
    ABSENT = "absent"
    OUTSIDE = "outside the field of view"
    NOT_FOUND = "not found"

    @property
    def known(self) -> bool:
        """There is a position to use."""
        return self in {State.MEASURED, State.REOPENED, State.INFERRED, State.GIVEN}


class DenisZone(Enum):
    """I: ala lateral to the foramina; II: foramina; III: medial to them, with canal and bodies."""

    ALA = 1
    FORAMINA = 2
    CENTRAL = 3


class Approach(StrEnum):
    """Every way to the sacrum that the two source papers name."""

    TRANS_SACROILIAC = "trans-sacroiliac"
    TRANSILIAC = "transiliac"
    INTERPEDICULAR = "interpedicular"
    POSTERIOR_SHORT_AXIS = "posterior-short-axis"
    POSTERIOR_LONG_AXIS = "posterior-long-axis"
    ANTERIOR_OBLIQUE = "anterior-oblique"
