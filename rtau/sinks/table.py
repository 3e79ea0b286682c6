"""The table of a run as CSV or Parquet."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Protocol, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from rtau.messages import AUFrame, RunInfo
from rtau.sinks.columns import Column, RtauRows, Value, rtau_columns
from rtau.sinks.files import disk_errors, publish, temporary_beside
from rtau.sinks.openface import OpenFaceRows, openface_columns

LayoutName = Literal["rtau", "openface"]
SUFFIXES = (".csv", ".parquet")

_ROWS_A_GROUP = 4096  # rows held in memory before Parquet writes them
_TYPES = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}


class _Format(Protocol):
    def write(self, row: list[Value]) -> None: ...

    def close(self) -> None: ...


class TableWriter:
    """Rows of frames into a file, or as CSV to stdout when `path` is None.

    Nothing stands under the final name before `finish`; leaving the context without it removes what was written.
    """

    def __init__(self, path: Path | None, layout: LayoutName, info: RunInfo) -> None:
        self.rows = 0
        self._path = path
        self._label = path or Path("standard output")
        columns, self._make_rows = _layout(layout, info)
        self._temporary = None if path is None else temporary_beside(path)
        with disk_errors(self._label):
            if self._temporary is None:
                self._format: _Format = _Csv(sys.stdout, columns)
            elif self._temporary.suffix.lower() == ".parquet":
                self._format = _Parquet(self._temporary, columns, info)
            else:
                self._format = _Csv(self._temporary.open("w", encoding="utf-8", newline=""), columns)

    def write(self, frame: AUFrame) -> None:
        """Append the rows of a frame."""
        with disk_errors(self._label):
            for row in self._make_rows(frame):
                self._format.write(row)
                self.rows += 1

    def finish(self) -> None:
        """Complete the file and give it its name."""
        with disk_errors(self._label):
            self._format.close()
        if self._temporary is not None and self._path is not None:
            publish(self._temporary, self._path)
            self._temporary = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary is not None:
            with contextlib.suppress(Exception):  # what is wrong has been told; this only frees the handle
                self._format.close()
            self._temporary.unlink(missing_ok=True)


def _layout(name: LayoutName, info: RunInfo) -> tuple[list[Column], Callable[[AUFrame], Iterator[list[Value]]]]:
    if name == "rtau":
        return rtau_columns(), RtauRows(info)
    still = info.source.time_base_s == 0
    return openface_columns(info, still=still), OpenFaceRows(info, still=still)


class _Csv:
    def __init__(self, file: IO[str], columns: list[Column]) -> None:
        self._file = file
        self._text = [_text_of(column) for column in columns]
        file.write(",".join(column.name for column in columns) + "\n")

    def write(self, row: list[Value]) -> None:
        cells = ["" if value is None else text(value) for text, value in zip(self._text, row, strict=True)]
        self._file.write(",".join(cells) + "\n")

    def close(self) -> None:
        self._file.flush()
        if self._file is not sys.stdout:
            self._file.close()


def _text_of(column: Column) -> Callable[[Value], str]:
    if column.kind == "float":
        return f"{{:.{column.digits}f}}".format
    return str if column.kind == "int" else _quoted


def _quoted(value: Value) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


class _Parquet:
    def __init__(self, path: Path, columns: list[Column], info: RunInfo) -> None:
        fields = [pa.field(column.name, _TYPES[column.kind]) for column in columns]
        self._schema = pa.schema(fields, metadata={"rtau": msgspec.json.encode(info)})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[list[Value]] = []

    def write(self, row: list[Value]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        arrays = [
            pa.array(values, field.type)
            for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()
