"""rtau: facial Action Units from live video, per frame and per person."""

__version__ = "0.1.0"
