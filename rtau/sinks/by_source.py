"""The rows of several sources that come and go, each in a table of its own."""

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

from rtau.errors import OutputError, RtauError
from rtau.messages import AUFrame, Event, Health, Message, RunInfo
from rtau.sinks.meta import state_after
from rtau.sinks.table import TableWriter, check_table, open_table


class SourceTables:
    """A table begins when its source is opened first, and is whole when the source has ended.

    The rows go to `record`, or where there may be several sources to `record` with the source's name before the suffix;
    a source that comes a second time gets a number too. Without `record` nothing is written.
    """

    def __init__(self, record: Path | None, *, several: bool, command: str, overwrite: bool) -> None:
        self._record, self._several, self._command, self._overwrite = record, several, command, overwrite
        self._open: dict[str, TableWriter] = {}
        self._paths: dict[str, list[Path]] = {}  # by source, the last one may be open

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for table in self._open.values():
            with contextlib.suppress(OutputError):
                if isinstance(error, (RtauError, OSError)):  # the reader of stdout or the terminal may have left
                    table.finish("interrupted", str(error))  # hours of rows are worth keeping
            table.abandon()

    @property
    def written(self) -> list[Path]:
        """Tables that are whole."""
        return [path for paths in self._paths.values() for path in paths if path not in self._unfinished]

    @property
    def _unfinished(self) -> list[Path]:
        return [self._paths[name][-1] for name in self._open]

    def check(self, name: str) -> None:
        """Whether the rows of a source that is to come can be written. Raises OutputError."""
        path = self._next(name)
        if path is not None:
            check_table(path, name, overwrite=self._overwrite)

    def opened(self, name: str, info: RunInfo) -> None:
        """The source is there, or there again. Raises OutputError."""
        path = self._next(name)
        if path is not None and name not in self._open:
            self._open[name] = open_table(
                path, "rtau", info, source=name, command=self._command, overwrite=self._overwrite
            )
            self._paths.setdefault(name, []).append(path)

    def write(self, message: Message, problem: RtauError | None = None) -> None:
        """The rows of a frame, or the end of a source, which `problem` may have ended. Raises OutputError."""
        table = self._open.get(message.source_id)
        if table is None:
            return
        try:
            if isinstance(message, AUFrame):
                table.write(message)
            elif isinstance(message, Health):
                table.captured(message.captured)
            elif isinstance(message, Event) and message.kind == "source_ended":
                table.finish(state_after(problem), None if problem is None else str(problem))
                del self._open[message.source_id]
        except OutputError:  # nothing is left of this one; the others are kept
            del self._open[message.source_id]
            self._paths[message.source_id].pop()
            raise

    def _next(self, name: str) -> Path | None:
        """Where the rows of the next source of this name go."""
        if self._record is None:
            return None
        before = len(self._paths.get(name, []))
        parts = [self._record.stem, *([name] if self._several else []), *([str(before + 1)] if before else [])]
        return self._record.with_name(f"{'.'.join(parts)}{self._record.suffix}")
