"""What a report says."""

from typing import NamedTuple


class Figure(NamedTuple):
    """One line of the report."""

    what: str
    value: str
    target: str = ""
    reached: bool | None = None  # None: for information
