"""rtau: facial Action Units from live video, per frame and per person."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "subscribe", "subscribe_async"]

if TYPE_CHECKING:
    from rtau.feed.client import subscribe, subscribe_async


def __getattr__(name: str) -> Any:
    """The client of the feed, imported when it is asked for."""
    if name in __all__:
        from rtau.feed import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
