"""What a report says."""

from typing import NamedTuple

from rtau.models import Role


class Figure(NamedTuple):
    """One line of the report."""

    what: str
    value: str
    target: str = ""
    reached: bool | None = None  # None: for information
    of: Role = "au"  # the model that it speaks of most

    @property
    def verdict(self) -> str:
        """The value, and how it stands to the target."""
        if self.reached is None:
            return self.value
        return f"{self.value} (target {self.target}: {'reached' if self.reached else 'not reached'})"
