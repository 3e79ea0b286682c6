"""Tables on disk: CSV or Parquet, whole or not there at all."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

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
    """Takes the frames of one run in order; a `with` block that ends without `finish` leaves nothing behind."""

    def __init__(self, out: Path | None, layout: Layout, meta: TableMeta) -> None:
        self._layout, self._meta = layout, meta
        self._counts = Counts()
        self._tracks: set[int] = set()
        self._output = None if out is None else OutputFile(out)
        self._file = sys.stdout.buffer if self._output is None else self._output.open()
        self._encoder: _Encoder
        if out is not None and out.suffix.lower() == ".parquet":
            self._encoder = _Parquet(self._file, layout.columns, meta)
        else:
            self._encoder = _Csv(self._file, layout.columns)
        with self._writing():
            self._encoder.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def write(self, frame: AUFrame) -> None:
        """Add the rows of one frame. Raises OutputError when the disk is full; the table is then abandoned."""
        rows = list(self._layout.rows(frame))
        with self._writing():
            self._encoder.write(rows)
            if self._output is None:
                self._file.flush()  # who reads along sees every frame at once
        self._count(frame, len(rows))

    def captured(self, frames: int) -> None:
        """So many frames has the source given so far; those without rows were dropped."""
        self._counts.dropped = frames - self._counts.frames

    def finish(self, state: State = "complete", problem: str | None = None) -> TableMeta:
        """Write the sidecar and give both files their names, the table last. Raises OutputError."""
        meta = msgspec.structs.replace(self._meta, state=state, problem=problem, counts=self._counts)
        with self._writing():
            self._encoder.close()
            self._file.flush()
        if self._output is not None:
            self._file.close()
            self._output.seal()
            self._finish_sidecar(meta, self._output)
        return meta

    def abandon(self) -> None:
        """Leave nothing behind, unless the table is finished."""
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
        counts.frames += 1
        self.captured(frame.frame_index + 1)
        counts.rows += rows
        counts.faces += len(frame.faces)
        self._tracks.update(face.track_id for face in frame.faces)
        counts.tracks = len(self._tracks)
        if frame.reason:
            counts.reasons[frame.reason] += 1
        counts.reasons["low_quality"] += sum(face.low_quality for face in frame.faces)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A failing disk abandons the table. A reader of stdout that has left is the caller's business."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.abandon()
            name = "stdout" if self._output is None else self._output.path
            raise OutputError(f"{name}: {write_problem(error)}") from error


class _Encoder(Protocol):
    """Rows to bytes."""

    def begin(self) -> None: ...

    def write(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None:
        """Write what is left; the file stays open."""


class _Csv:
    """Comma, decimal point, UTF-8, one header line, LF."""

    def __init__(self, file: BinaryIO, columns: tuple[Column, ...]) -> None:
        self._file, self._columns = file, columns
        self._lines: dict[tuple[bool, ...], str] = {}  # which cells are empty -> format of the line

    def begin(self) -> None:
        self._file.write(f"{','.join(column.name for column in self._columns)}\n".encode())

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            empty = tuple(cell is None for cell in row)
            line = self._lines.get(empty) or self._lines.setdefault(empty, self._line(empty))
            filled = tuple(_quoted(cell) if isinstance(cell, str) else cell for cell in row if cell is not None)
            self._file.write((line % filled).encode())

    def close(self) -> None:
        pass

    def _line(self, empty: tuple[bool, ...]) -> str:
        formats = ["%s" if column.digits is None else f"%.{column.digits}f" for column in self._columns]
        return ",".join("" if no else form for form, no in zip(formats, empty, strict=True)) + "\n"


def _quoted(text: str) -> str:
    """RFC 4180."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


class _Parquet:
    """The same numbers with types: whole numbers int64, others float64; an empty cell is null."""

    def __init__(self, file: BinaryIO, columns: tuple[Column, ...], meta: TableMeta) -> None:
        types = {None: pa.string(), 0: pa.int64()}
        schema = pa.schema(
            [(column.name, types.get(column.digits, pa.float64())) for column in columns],
            metadata={"rtau": msgspec.json.encode(meta)},
        )
        self._rows: list[Row] = []
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def begin(self) -> None:
        pass

    def write(self, rows: Sequence[Row]) -> None:
        self._rows += rows
        if len(self._rows) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            schema = self._writer.schema
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(cells, type=field.type) for cells, field in zip(columns, schema, strict=True)]
            self._rows = []
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
