"""Tables on disk: CSV or Parquet, whole or not there at all."""

import contextlib
import csv
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from rtau.errors import OutputError
from rtau.messages import AUFrame, RunInfo
from rtau.sinks.columns import Column, Layout, Row, RtauLayout
from rtau.sinks.meta import Counts, LayoutName, State, TableMeta, describe_table, sidecar, to_json
from rtau.sinks.openface import OpenFaceLayout
from rtau.sinks.output import OutputFile, check_output, write_problem

TABLES = (".csv", ".parquet")
_ROW_GROUP = 4096  # rows of a Parquet file that wait in memory


def check_table(out: Path | None, source: str, *, overwrite: bool) -> None:
    """Whether the table and its sidecar can be written, asked before a run starts. Raises OutputError."""
    if out is not None:
        check_output(out, TABLES, source, overwrite=overwrite)
        check_output(sidecar(out), (".json",), source, overwrite=True)


def open_table(
    out: Path | None, layout: LayoutName, info: RunInfo, *, source: str, command: str, overwrite: bool = False
) -> "TableWriter":
    """Begin a table; `out` None is CSV on stdout, without a sidecar. Raises OutputError as `check_table` does."""
    check_table(out, source, overwrite=overwrite)
    rows = RtauLayout(info) if layout == "rtau" else OpenFaceLayout(info)
    return TableWriter(out, rows, describe_table(info, layout, rows, command))


class TableWriter:
    """Takes the frames of one run in order. End it with `finish` or `abandon`."""

    def __init__(self, out: Path | None, layout: Layout, meta: TableMeta) -> None:
        self._layout, self._meta = layout, meta
        self._counts = Counts()
        self._tracks: set[int] = set()
        self._last_index: int | None = None
        self._output = None if out is None else OutputFile(out)
        with self._writing():
            self._file: BinaryIO = (
                sys.stdout.buffer if self._output is None else io.BufferedWriter(io.FileIO(self._output.temporary, "w"))
            )
            self._encoder: _Encoder
            if out is not None and out.suffix.lower() == ".parquet":
                self._encoder = _Parquet(self._file, layout.columns, meta)
            else:
                self._encoder = _Csv(self._file, layout.columns)

    def write(self, frame: AUFrame) -> None:
        """Add the rows of one frame. Raises OutputError when the disk is full; the table is then abandoned."""
        rows = list(self._layout.rows(frame))
        with self._writing():
            self._encoder.write(rows)
            if self._output is None:
                self._file.flush()  # who reads along sees every frame at once
        self._count(frame, len(rows))

    def finish(self, state: State = "complete", problem: str | None = None) -> TableMeta:
        """Write the sidecar and give both files their names, the table last. Raises OutputError."""
        meta = msgspec.structs.replace(self._meta, state=state, problem=problem, counts=self._counts)
        with self._writing():
            self._encoder.close()
            self._file.flush()
        if self._output is not None:
            with self._writing():
                self._file.close()
            self._output.seal()
            self._finish_sidecar(meta, self._output)
        return meta

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._output is not None:
            with contextlib.suppress(OSError):
                self._encoder.close()
            with contextlib.suppress(OSError):
                self._file.close()
            self._output.discard()

    def _finish_sidecar(self, meta: TableMeta, table: OutputFile) -> None:
        try:
            beside = OutputFile(sidecar(table.path))
            with beside.writing():
                beside.temporary.write_bytes(to_json(meta))
            beside.seal()
            beside.publish()
        except OutputError:
            table.discard()
            raise
        table.publish()

    def _count(self, frame: AUFrame, rows: int) -> None:
        counts = self._counts
        counts.dropped += 0 if self._last_index is None else frame.frame_index - self._last_index - 1
        self._last_index = frame.frame_index
        counts.frames += 1
        counts.rows += rows
        counts.faces += len(frame.faces)
        self._tracks.update(face.track_id for face in frame.faces)
        counts.tracks = len(self._tracks)
        if frame.reason:
            counts.reasons[frame.reason] += 1
        counts.reasons["low_quality"] += sum(face.low_quality for face in frame.faces)

    @contextlib.contextmanager
    def _writing(self) -> "Iterator[None]":
        """A failing disk abandons the table. A reader of stdout that has left is the caller's business."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.abandon()
            name = "stdout" if self._output is None else self._output.path
            raise OutputError(f"{name}: {write_problem(error)}") from error
