"""What the world can do to us, as exceptions with one line of text and a documented exit code (docs/errors.md)."""


class RtauError(Exception):
    """Base of everything a caller may want to catch; the text names the thing and the cure."""

    exit_code = 1


class SourceError(RtauError):
    """The input is missing, unreadable, not a picture or video, or has no frames."""

    exit_code = 3


class DamagedSourceError(RtauError):
    """The input ended early or broke off; the rows up to the damage were written."""

    exit_code = 4


class OutputError(RtauError):
    """The output cannot be written: folder missing, file exists, disk full."""

    exit_code = 5


class ConfigError(RtauError):
    """A configuration file has an unknown key, a bad value or bad YAML."""

    exit_code = 6


class ModelError(RtauError):
    """An artifact folder does not fit: hash differs, card missing or wrong."""

    exit_code = 7


class DeviceError(RtauError):
    """The device that was asked for cannot be used."""

    exit_code = 8


class WorkerError(RtauError):
    """A process of the pipeline died or stopped answering."""

    exit_code = 9


class LostDeviceError(WorkerError):
    """The device failed under a process, which can compute nothing more and ends; a new process can."""


class FeedError(RtauError):
    """The feed cannot be published or read: address taken or not allowed, keys missing, nobody there."""

    exit_code = 10


class GalleryError(RtauError):
    """Persons cannot be enrolled or looked up: gallery, key or clip do not serve."""

    exit_code = 11


class Interrupted(RtauError):
    """The user stopped the run; what was decoded has been written."""

    exit_code = 130
