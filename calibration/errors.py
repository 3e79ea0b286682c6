"""What can go wrong with what is kept of persons, as one exception with one line of text."""


class CalibrationError(Exception):
    """A gallery, key or export cannot be used; the text names the thing and the cure."""
