"""The Action Unit catalogue: number, name, whether it can be one-sided, and which data set codes it.

Names follow Ekman, Friesen & Hager (2002). "Left" and "right" are always the subject's.
"""

from typing import NamedTuple


class ActionUnit(NamedTuple):
    number: int
    name: str
    sided: bool  # can appear on one side of the face only, so left and right intensity are reported
    coded_by: tuple[str, ...]  # data sets with labels for it (I = intensity 0-5, O = occurrence)

    @property
    def column(self) -> str:
        """Name in tables: `AU01`, `AU12`."""
        return f"AU{self.number:02d}"


_TABLE = (
    (1, "inner brow raiser", True, ("BP4D:O", "BP4D+:O", "DISFA:I", "GFT:O", "Aff-Wild2:O")),
    (2, "outer brow raiser", True, ("BP4D:O", "BP4D+:O", "DISFA:I", "GFT:O", "Aff-Wild2:O")),
    (4, "brow lowerer", True, ("BP4D:O", "BP4D+:O", "DISFA:I", "GFT:O", "Aff-Wild2:O")),
    (5, "upper lid raiser", True, ("DISFA:I",)),
    (6, "cheek raiser", True, ("BP4D:O", "BP4D+:O", "DISFA:I", "GFT:O", "Aff-Wild2:O")),
    (7, "eyelid tightener", True, ("BP4D:O", "BP4D+:O", "Aff-Wild2:O")),
    (9, "nose wrinkler", True, ("DISFA:I",)),
    (10, "upper lip raiser", True, ("BP4D:O", "BP4D+:O", "GFT:O", "Aff-Wild2:O")),
    (12, "lip corner puller", True, ("BP4D:O", "BP4D+:O", "DISFA:I", "GFT:O", "Aff-Wild2:O")),
    (14, "dimpler", True, ("BP4D:O", "BP4D+:O", "GFT:O")),
    (15, "lip corner depressor", True, ("BP4D:O", "BP4D+:O", "DISFA:I", "GFT:O", "Aff-Wild2:O")),
    (17, "chin raiser", False, ("BP4D:O", "BP4D+:O", "DISFA:I")),
    (18, "lip pucker", False, ()),
    (20, "lip stretcher", True, ("DISFA:I",)),
    (23, "lip tightener", False, ("BP4D:O", "BP4D+:O", "GFT:O", "Aff-Wild2:O")),
    (24, "lip pressor", False, ("BP4D:O", "BP4D+:O", "GFT:O", "Aff-Wild2:O")),
    (25, "lips part", False, ("DISFA:I", "Aff-Wild2:O")),
    (26, "jaw drop", False, ("DISFA:I", "Aff-Wild2:O")),
    (28, "lip suck", False, ()),
    (43, "eyes closed", True, ()),
)

CATALOGUE: tuple[ActionUnit, ...] = tuple(ActionUnit(*row) for row in _TABLE)
AU_COLUMNS: tuple[str, ...] = tuple(au.column for au in CATALOGUE)
SIDED_COLUMNS: tuple[str, ...] = tuple(au.column for au in CATALOGUE if au.sided)

OCCURRENCE_INTENSITY = 1.0  # an AU counts as present from intensity 1 (trace, "A") on
