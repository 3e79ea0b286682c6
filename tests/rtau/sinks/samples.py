"""Small runs for the tests of the sinks: invented faces with known numbers."""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from rtau.facs import AU_COLUMNS
from rtau.messages import AUFrame, FaceAUs, RunInfo, SourceInfo

SOURCE = SourceInfo(
    name="clip.mp4",
    width=640,
    height=360,
    codec="h264",
    pixel_format="yuv420p",
    matrix="bt601",
    full_range=False,
    rotation=0,
    time_base_s=1 / 12800,
    nominal_fps=25.0,
    frames=4,
    duration_s=0.16,
)
STILL = msgspec.structs.replace(SOURCE, name="photo.jpg", codec="mjpeg", time_base_s=0.0, nominal_fps=None)


def run_info(aus: Iterable[str] = AU_COLUMNS, source: SourceInfo = SOURCE) -> RunInfo:
    return RunInfo(
        version="0.1.0",
        engine="openvino-cpu",
        weights={"au": "aunce-1-0123abcd"},
        weights_sha256={"au": "0123abcd" * 8},
        aus=tuple(aus),
        source=source,
    )


def face(
    track_id: int = 1, *, aus: Iterable[str] = AU_COLUMNS, intensity: dict[str, float] | None = None, **changes: Any
) -> FaceAUs:
    """A face whose AUs are 0 but for `intensity` (keys such as AU12, AU12L, AU12R)."""
    given = intensity or {}
    left = [given.get(f"{au}L", given.get(au, 0.0)) for au in aus]
    right = [given.get(f"{au}R", given.get(au, 0.0)) for au in aus]
    strongest = [max(pair) for pair in zip(left, right, strict=True)]
    made = FaceAUs(
        track_id=track_id,
        person_id=None,
        score=0.98765,
        box=(10.0, 20.125, 110.0, 140.0),
        pose=(3.0, -20.0, 5.0),
        occurrence=[float(1 / (1 + np.exp(-2 * (value - 1)))) for value in strongest],
        intensity=strongest,
        left=left,
        right=right,
        low_quality=False,
    )
    return msgspec.structs.replace(made, **changes)


def frame(index: int, *faces: FaceAUs, time_s: float | None = None, reason: str | None = None) -> AUFrame:
    return AUFrame(
        source_id="0",
        frame_index=index,
        time_s=index / 25 if time_s is None else time_s,
        t_capture_ns=index,
        wall_capture_ns=index,
        width=SOURCE.width,
        height=SOURCE.height,
        reason=reason if reason is not None else "" if faces else "no_face",  # type: ignore[arg-type]
        aus=AU_COLUMNS,
        faces=list(faces),
    )


def mesh(box: tuple[float, float, float, float] = (10.0, 20.0, 110.0, 140.0)) -> list[tuple[float, float, float]]:
    """478 points inside a box; point i can be told by its coordinates."""
    x0, y0, x1, y1 = box
    return [(x0 + (x1 - x0) * i / 477, y0 + (y1 - y0) * (i * 7 % 478) / 477, 0.0) for i in range(478)]
