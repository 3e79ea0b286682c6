"""A clip many times in a row, at its own pace or a faster one: a source of known length for a long run."""

import math
from pathlib import Path
from typing import NamedTuple

import av


class Film(NamedTuple):
    path: Path
    frames: int
    fps: int


def film(clip: Path, out: Path, seconds: float, speed: int = 1) -> Film:
    """Write `out`: the pictures of `clip` (30 frames/s) again and again for at least so long, `speed` times as fast."""
    with av.open(str(clip)) as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        times = [(packet.pts or 0, packet.dts or 0) for packet in packets]
        base, length = packets[0].time_base, sum(packet.duration or 0 for packet in packets)
        assert base is not None
        turns = math.ceil(seconds * speed / float(length * base))
        with av.open(str(out), "w") as target:
            copy = target.add_stream_from_template(stream)
            for turn in range(turns):
                for packet, (pts, dts) in zip(packets, times, strict=True):
                    packet.stream = copy
                    packet.time_base = base / speed
                    packet.pts, packet.dts = pts + turn * length, dts + turn * length
                    target.mux(packet)
    return Film(out, turns * len(packets), 30 * speed)
