"""A feed as people read it: lines, or a picture of the newest state."""

import time
from collections import deque
from collections.abc import Callable, Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rtau.feed.wire import AnyMessage, printable
from rtau.messages import AUFrame, Event, FaceAUs, Health, Hello, RunHealth

_SHOWN = 6  # strongest AUs of a face
_BAR = 10  # characters of intensity 5
_WINDOW_S = 2.0  # for frames a second; a source without a frame for so long is said to be silent


def lines(message: AnyMessage) -> Iterator[str]:
    """What to print for a message: one line a face, `cam 1.240 face 1 AU06=0.84 AU12=0.91`."""
    source = printable(message.source_id)
    if isinstance(message, AUFrame):
        head = f"{source} {message.time_s:.3f}"
        for face in message.faces:
            present = [f"{au}={p:.2f}" for au, p, r in _estimates(message, face) if r >= 1 and p >= 0.5]
            yield " ".join([head, f"face {face.track_id}", *_quality(face), *(present or ["no AU"])])
        if not message.faces:
            yield f"{head} {message.reason}"
    elif isinstance(message, Event):
        yield f"{source} {_said(message)}"
    elif isinstance(message, Hello):
        yield f"{source} {_introduced(message)}"
    elif isinstance(message, Health):
        yield f"{source} {_health(message)}"
    else:
        yield f"{source} {_run_health(message)}"


class View:
    """The newest state of every source of a feed."""

    def __init__(self, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoint, self._clock = endpoint, clock
        self._sources: dict[str, _Source] = {}
        self._run: RunHealth | None = None
        self._hello: Hello | None = None  # the newest: all sources of a run have one engine and one set of weights

    def add(self, message: AnyMessage) -> None:
        if isinstance(message, RunHealth):
            self._run = message
        else:
            self._hello = message if isinstance(message, Hello) else self._hello
            self._sources.setdefault(message.source_id, _Source()).add(message, self._clock())

    def render(self, *counts: str) -> RenderableType:
        """What to show now; `counts` are said at the end, such as what this subscriber has missed."""
        if not self._sources:
            return Text(f"waiting for {self._endpoint}")
        parts: list[RenderableType] = []
        for name, source in sorted(self._sources.items()):
            parts += [Text(f"{printable(name)}  {source.headline(self._clock())}", style="bold")]
            parts += [Padding(part, (0, 0, 0, 2)) for part in source.body()]
            parts += [Text()]
        if self._hello is not None:
            parts.append(Text(_computed(self._hello), style="dim"))
        foot = [self._endpoint, *([_run_health(self._run)] if self._run else []), *counts]
        parts.append(Text("  ".join(foot), style="dim"))
        return Group(*parts)


class _Source:
    def __init__(self) -> None:
        self._frame: AUFrame | None = None
        self._hello: Hello | None = None
        self._health: Health | None = None
        self._event: Event | None = None
        self._arrivals: deque[float] = deque()
        self._dropped = 0  # gaps in the frame index since watching began

    def add(self, message: AUFrame | Event | Health | Hello, now: float) -> None:
        if isinstance(message, AUFrame):
            # A gap in `seq` was lost on the way; only a gap in the index beyond it is the pipeline's.
            if self._frame is not None and message.seq == self._frame.seq + 1:
                self._dropped += max(message.frame_index - self._frame.frame_index - 1, 0)
            self._frame = message
            self._arrivals.append(now)
        elif isinstance(message, Hello):
            self._hello = message
        elif isinstance(message, Health):
            self._health = message
        else:
            self._event = message

    def headline(self, now: float) -> str:
        while self._arrivals and self._arrivals[0] < now - _WINDOW_S:
            self._arrivals.popleft()
        words = []
        if self._frame is not None:
            words.append(f"{self._frame.width}x{self._frame.height}  {self._frame.time_s:.2f} s")
        if self._health is not None:
            words += _flow(self._health)
        else:  # only frames were asked for
            if len(self._arrivals) > 1:
                words.append(f"{(len(self._arrivals) - 1) / (self._arrivals[-1] - self._arrivals[0]):.1f} fps")
            words.append(f"dropped {self._dropped}")
        if self._frame is not None and not self._arrivals:
            words.append("silent")
        return "  ".join(words)

    def body(self) -> Iterator[RenderableType]:
        if self._hello is not None:
            yield Text(_origin(self._hello), style="dim")
        if self._health is not None and self._health.latency_ms:
            yield _latencies(self._health)
        if self._event is not None:
            yield Text(_said(self._event), style="dim")
        if self._frame is not None:
            faces = Table.grid(padding=(0, 2))
            for face in self._frame.faces:
                strongest = sorted(_estimates(self._frame, face), key=lambda each: each[2], reverse=True)[:_SHOWN]
                for row, (au, probability, intensity) in enumerate(strongest):
                    head = " ".join([f"face {face.track_id}", *_quality(face)]) if row == 0 else ""
                    faces.add_row(head, au, _bar(intensity), f"{intensity:.1f}", f"p {probability:.2f}")
            yield faces


def _estimates(frame: AUFrame, face: FaceAUs) -> list[tuple[str, float, float]]:
    """AU, probability, intensity: relative to the resting face where that is known."""
    return list(zip(map(printable, frame.aus), face.occurrence, face.shown, strict=False))


def _bar(intensity: float) -> str:
    filled = round(_BAR * min(max(intensity, 0.0), 5.0) / 5)
    return "█" * filled + "░" * (_BAR - filled)


def _quality(face: FaceAUs) -> list[str]:
    who = [printable(face.person_id)] if face.person_id else []
    return [*who, *(["low_quality"] if face.low_quality else [])]


def _introduced(hello: Hello) -> str:
    return f"{_origin(hello)}, {_computed(hello)}"


def _origin(hello: Hello) -> str:
    source = hello.source
    rate = "" if source.nominal_fps is None else f" {source.nominal_fps:.4g} fps"
    return printable(f"{source.name} {source.width}x{source.height} {source.codec}{rate}")


def _computed(hello: Hello) -> str:
    return printable(f"rtau {hello.version} on {hello.engine}, weights {', '.join(hello.weights.values())}")


def _said(event: Event) -> str:
    parts = [
        event.kind,
        *(
            f"{name} {value}"
            for name, value in (("track", event.track_id), ("frame", event.frame_index), ("count", event.count))
            if value is not None
        ),
        event.text,
    ]
    return printable(" ".join(part for part in parts if part))


def _health(health: Health) -> str:
    latency = ", ".join(f"{stage} {of.p50:.1f}/{of.p99:.1f}" for stage, of in health.latency_ms.items())
    return printable(f"{', '.join(_flow(health))}; ms p50/p99: {latency or '-'}")


def _flow(health: Health) -> list[str]:
    dropped = ", ".join(f"{reason} {count}" for reason, count in health.dropped.items() if count) or "0"
    rates = [f"{health.fps_in:.1f} fps in", f"{health.fps_out:.1f} out"]
    return [printable(word) for word in (health.state, *rates, f"dropped {dropped}")]


def _latencies(health: Health) -> RenderableType:
    """Stages from left to right, as a frame passes them."""
    table = Table.grid(padding=(0, 2))
    table.add_row("ms", *(printable(stage) for stage in health.latency_ms), style="dim")
    for name in ("p50", "p99"):
        table.add_row(name, *(Text(f"{getattr(of, name):.1f}", justify="right") for of in health.latency_ms.values()))
    return table


def _run_health(health: RunHealth) -> str:
    restarts = sum(process.restarts for process in health.processes)
    return (
        f"{len(health.processes)} processes, {restarts} restarts, {health.cpu:.2f} cores, "
        f"{health.memory_bytes / 2**20:.0f} MiB, {health.subscribers} subscribers, {health.overflows} overflows"
    )
