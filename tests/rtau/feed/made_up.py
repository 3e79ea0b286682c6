"""One message of each kind with invented numbers, and a publisher for them on a free port.

`python -m tests.rtau.feed.made_up` writes the golden bytes of the present state of the schema; give `GOLDEN_NOW`
another name when fields have come, and never overwrite the bytes of an earlier state.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rtau.facs import AU_COLUMNS
from rtau.feed.client import Subscription
from rtau.feed.config import FeedConfig
from rtau.feed.publisher import Publisher
from rtau.feed.wire import AnyMessage, encoder
from rtau.messages import (
    SCHEMA_VERSION,
    UNITS,
    AUFrame,
    Event,
    FaceAUs,
    Health,
    Hello,
    Percentiles,
    ProcessHealth,
    RunHealth,
    RunInfo,
    SourceInfo,
    describe_feed,
)

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_NOW = GOLDEN / "schema_1_persons"  # with recognised persons and their baselines

AUS = ("AU06", "AU12", "AU25")


def face(track_id: int = 1, **changes: Any) -> FaceAUs:
    made = FaceAUs(
        track_id=track_id,
        person_id=None,
        score=0.98,
        box=(410.5, 200.25, 690.0, 560.75),
        pose=(3.5, -12.0, 1.25),
        occurrence=[0.84, 0.91, 0.02],
        intensity=[2.5, 3.25, 0.0],
        left=[2.5, 3.25, 0.0],
        right=[2.25, 2.75, 0.0],
        low_quality=False,
    )
    return msgspec.structs.replace(made, **changes)


def frame(index: int = 0, *faces: FaceAUs, source_id: str = "cam", **changes: Any) -> AUFrame:
    made = AUFrame(
        source_id=source_id,
        frame_index=index,
        time_s=index / 32,
        t_capture_ns=5_000_000_000 + index * 31_250_000,
        wall_capture_ns=1_750_000_000_123_456_789 + index * 31_250_000,
        width=1280,
        height=720,
        reason="" if faces else "no_face",
        aus=AUS,
        faces=list(faces),
    )
    return msgspec.structs.replace(made, **changes)


def hello(source_id: str = "cam") -> Hello:
    source = SourceInfo(
        name="camera 0",
        width=1280,
        height=720,
        codec="mjpeg",
        pixel_format="yuvj422p",
        matrix="bt601",
        full_range=True,
        rotation=0,
        time_base_s=1e-6,
        nominal_fps=32.0,
        frames=None,
        duration_s=None,
    )
    info = RunInfo(
        version="0.1.0",
        engine="openvino-cpu",
        weights={"au": "aunce-1-0123abcd"},
        weights_sha256={"au": "0123abcd" * 8},
        aus=AUS,
        source=source,
    )
    return describe_feed(info, source_id)


def event(source_id: str = "cam", **changes: Any) -> Event:
    made = Event(
        source_id=source_id,
        kind="track_started",
        t_ns=5_031_250_000,
        wall_ns=1_750_000_000_154_706_789,
        frame_index=1,
        track_id=2,
    )
    return msgspec.structs.replace(made, **changes)


def health(source_id: str = "cam") -> Health:
    return Health(
        source_id=source_id,
        state="live",
        fps_in=32.0,
        fps_out=31.5,
        captured=100,
        published=97,
        dropped={"newest_wins": 2, "restart": 0},
        latency_ms={"faces": Percentiles(p50=5.5, p99=8.25), "total": Percentiles(p50=12.0, p99=20.5)},
        faces=1,
    )


def run_health() -> RunHealth:
    return RunHealth(
        source_id="rtau",
        processes=[ProcessHealth(name="au", pid=4711, restarts=1, cpu=0.25, memory_bytes=300_000_000)],
        cpu=0.75,
        memory_bytes=900_000_000,
        subscribers=2,
        overflows=1,
    )


def examples() -> dict[str, AnyMessage]:
    """One message for each golden file, with every field given."""
    stamped = {"seq": 7, "t_publish_ns": 5_012_345_678}
    units = {name: unit for name, unit in UNITS.items() if "calibrated" not in name and "baseline" not in name}
    catalogue_too = msgspec.structs.replace(hello(), run_id="00ff00ff00ff00ff", units=units, **stamped)
    assert len(catalogue_too.catalogue) == len(AU_COLUMNS)
    return {
        "au": frame(3, face(), face(2, person_id="ada", low_quality=True, landmarks=[(1.5, 2.5, -0.5)]), **stamped),
        "event": event(count=3, text="a line", **stamped),
        "health": msgspec.structs.replace(health(), **stamped),
        "run_health": msgspec.structs.replace(run_health(), **stamped),
        "hello": catalogue_too,
    }


def examples_now() -> dict[str, AnyMessage]:
    """The same with the fields that have come since the first golden bytes."""
    known = face(
        3,
        person_id="ada",
        baseline="fixed",
        baseline_confidence=0.875,
        calibrated=[2.25, 3.0, 0.0],
        calibrated_left=[2.25, 3.0, 0.0],
        calibrated_right=[2.0, 2.5, 0.0],
    )
    first = examples()
    return first | {
        "au": msgspec.structs.replace(first["au"], faces=[face(), known]),
        "event": msgspec.structs.replace(first["event"], kind="person_recognised", person_id="ada"),
        "hello": msgspec.structs.replace(first["hello"], baseline="online", gallery=True, units=UNITS),
    }


@contextmanager
def publisher(**options: Any) -> Iterator[Publisher]:
    with Publisher(FeedConfig(**({"endpoints": ("tcp://127.0.0.1:*",)} | options))) as made:
        yield made


def wait_for_subscription(made: Publisher, count: int = 1, timeout_s: float = 20.0) -> None:
    """Serve until so many subscriptions have come, and their connections are open."""
    deadline = time.monotonic() + timeout_s
    came = 0
    while came < count:
        assert time.monotonic() < deadline, "nobody subscribed"
        came += made.serve()
        made.wait(0.01)


def wait_until_quiet(subscription: Subscription, moment_s: float = 0.2) -> None:
    """Until nothing more arrives; what is waiting stays there."""
    while subscription._socket.poll(0):
        subscription._take(subscription._socket.recv_multipart())
        subscription._socket.poll(round(1000 * moment_s))


if __name__ == "__main__":
    assert SCHEMA_VERSION == 1
    GOLDEN_NOW.mkdir(parents=True, exist_ok=True)
    for name, message in examples_now().items():
        (GOLDEN_NOW / f"{name}.msgpack").write_bytes(encoder("msgpack")(message))
        (GOLDEN_NOW / f"{name}.json").write_bytes(encoder("json")(message))
