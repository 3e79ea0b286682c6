"""What lies beside a table as FILE.meta.json: where its numbers come from and whether it is whole."""

from pathlib import Path
from typing import Literal

import msgspec

from rtau.errors import DamagedSourceError, RtauError
from rtau.facs import AU_COLUMNS
from rtau.messages import BaselineMode, RunInfo, SourceInfo
from rtau.sinks.columns import Layout

LayoutName = Literal["rtau", "openface"]
State = Literal["complete", "damaged", "interrupted"]
REASONS = ("no_face", "low_quality", "decode_error")  # what the column `reason` may say


def state_after(problem: RtauError | None) -> State:
    """Of a table whose source ended with `problem`, or as it should."""
    if problem is None:
        return "complete"
    return "damaged" if isinstance(problem, DamagedSourceError) else "interrupted"


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    name: str  # name, version and the first digits of the hash
    sha256: str


class Counts(msgspec.Struct, kw_only=True):
    """Of one table."""

    frames: int = 0  # decoded, with or without faces
    rows: int = 0
    faces: int = 0  # rows with a face
    tracks: int = 0  # distinct track ids
    dropped: int = 0  # frames that were decoded but have no row, the first and the last ones too
    reasons: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(REASONS, 0))  # rows


class TableMeta(msgspec.Struct, frozen=True, kw_only=True):
    """The sidecar, and the `rtau` entry of a Parquet file's own metadata (which is written first and has no counts)."""

    rtau: str  # version
    command: str
    layout: LayoutName
    engine: str
    weights: dict[str, Weights]
    aus: tuple[str, ...]  # estimated
    not_estimated: tuple[str, ...]  # AUs of the catalogue that these weights do not know: empty cells, or no columns
    units: dict[str, str]
    source: SourceInfo
    baseline: BaselineMode  # what calibrated intensities are relative to; two_pass: the whole clip, later frames too
    gallery: bool  # whether persons were looked up
    state: State | None = None  # `damaged`: the input broke off; `interrupted`: the run was stopped or failed
    problem: str | None = None  # the line that was printed when the state is not `complete`
    counts: Counts | None = None


def describe_table(info: RunInfo, name: LayoutName, layout: Layout, command: str) -> TableMeta:
    """What is known of a table before its first row."""
    return TableMeta(
        rtau=info.version,
        command=command,
        layout=name,
        engine=info.engine,
        weights={role: Weights(name=label, sha256=info.weights_sha256[role]) for role, label in info.weights.items()},
        aus=info.aus,
        not_estimated=tuple(au for au in AU_COLUMNS if au not in info.aus),
        units=layout.units,
        source=info.source,
        baseline=info.baseline,
        gallery=info.gallery,
    )


def sidecar(table: Path) -> Path:
    """`aus.csv` -> `aus.csv.meta.json`."""
    return table.with_name(f"{table.name}.meta.json")


def to_json(meta: TableMeta) -> bytes:
    """Indented, as people read it."""
    return msgspec.json.format(msgspec.json.encode(meta), indent=2) + b"\n"
