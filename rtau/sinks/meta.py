"""The sidecar of a table: what made it, in which units."""

from pathlib import Path
from typing import Literal

import msgspec

from rtau.facs import CATALOGUE
from rtau.messages import RunInfo
from rtau.sinks.files import disk_errors, publish, temporary_beside

State = Literal["complete", "damaged", "interrupted"]

_UNITS = {
    "frame": "decoded frames, from 0 (openface: from 1)",
    "pts_s": "seconds, presentation time in the container's clock",
    "x0 y0 x1 y1": "pixels of the displayed picture, origin at the top left",
    "pitch_deg yaw_deg roll_deg": "degrees; up, to the subject's right, tilted to the subject's right are positive",
    "face_score": "probability that this is a face, 0-1",
    "AU*_p": "probability of occurrence, 0-1",
    "AU*_r": "intensity, 0-5; the stronger side",
    "AU*_c": "1 when the intensity is at least 1, else 0",
    "AU*L_r AU*R_r": "intensity of the subject's left and right side, 0-5",
}


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Content of FILE.meta.json."""

    rtau_version: str
    command: str
    state: State
    problem: str  # empty, or the line that was also printed
    engine: str
    weights: dict[str, str]
    weights_sha256: dict[str, str]
    layout: str
    aus: list[str]
    aus_not_estimated: list[str]
    units: dict[str, str]
    source: msgspec.Raw
    frames: int
    rows: int
    faces: int
    frames_by_reason: dict[str, int]
    dropped: int


def meta_path(table: Path) -> Path:
    """`aus.csv` -> `aus.csv.meta.json`."""
    return table.with_name(f"{table.name}.meta.json")


def write_meta(
    table: Path,
    info: RunInfo,
    *,
    command: str,
    state: State,
    problem: str,
    layout: str,
    counts: dict[str, int],
    rows: int,
) -> None:
    """Write the sidecar of `table`. Counts: frames, faces, and frames by reason."""
    meta = Meta(
        rtau_version=info.version,
        command=command,
        state=state,
        problem=problem,
        engine=info.engine,
        weights=info.weights,
        weights_sha256=info.weights_sha256,
        layout=layout,
        aus=list(info.aus),
        aus_not_estimated=[au.column for au in CATALOGUE if au.column not in info.aus],
        units=_UNITS,
        source=msgspec.Raw(msgspec.json.encode(info.source)),
        frames=counts["frames"],
        rows=rows,
        faces=counts["faces"],
        frames_by_reason={name: counts[name] for name in ("no_face", "low_quality", "decode_error")},
        dropped=0,
    )
    path = meta_path(table)
    temporary = temporary_beside(path)
    try:
        with disk_errors(path):
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(meta), indent=2) + b"\n")
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
