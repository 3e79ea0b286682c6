"""Tables of sources that come and go."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rtau.errors import DamagedSourceError, OutputError, RtauError, WorkerError
from rtau.messages import AUFrame, Event
from rtau.sinks.by_source import SourceTables
from tests.rtau.feed import made_up
from tests.rtau.sinks import samples


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    assert [path.name for path in tmp_path.rglob(".*")] == []


def tables(folder: Path, *, several: bool = True, overwrite: bool = False) -> SourceTables:
    return SourceTables(folder / "rows.csv", several=several, command="rtau stream", overwrite=overwrite)


def frame(source: str, index: int) -> AUFrame:
    return msgspec.structs.replace(samples.frame(index), source_id=source)


def ended(source: str) -> Event:
    return made_up.event(source, kind="source_ended")


def meta(table: Path) -> dict[str, Any]:
    return dict(json.loads(table.with_name(f"{table.name}.meta.json").read_text()))


def state(table: Path) -> str:
    return str(meta(table)["state"])


def rows(table: Path) -> int:
    return len(table.read_text().splitlines()) - 1


def test_a_table_is_whole_when_its_source_has_ended(tmp_path: Path) -> None:
    with tables(tmp_path) as open_tables:
        for name in ("door", "desk"):
            open_tables.check(name)
            open_tables.opened(name, samples.run_info())
        for index in range(3):
            open_tables.write(frame("door", index))
        open_tables.opened("door", samples.run_info())  # it was lost, and is back
        open_tables.write(frame("door", 5))
        open_tables.write(ended("door"))
        assert open_tables.written == [tmp_path / "rows.door.csv"]
        assert (rows(tmp_path / "rows.door.csv"), state(tmp_path / "rows.door.csv")) == (4, "complete")
        open_tables.write(ended("desk"))
    assert (rows(tmp_path / "rows.desk.csv"), state(tmp_path / "rows.desk.csv")) == (0, "complete")


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (DamagedSourceError("film.mp4: the file is cut off"), "damaged"),
        (WorkerError("the faces process died"), "interrupted"),
    ],
)
def test_what_a_source_ended_in_is_in_its_sidecar(tmp_path: Path, problem: RtauError, said: str) -> None:
    with tables(tmp_path, several=False) as open_tables:
        open_tables.opened("0", samples.run_info())
        open_tables.write(frame("0", 0))
        open_tables.write(ended("0"), problem)
    told = meta(tmp_path / "rows.csv")
    assert (told["state"], told["problem"]) == (said, str(problem))


def test_frames_without_rows_are_counted_before_the_first_row_and_after_the_last(tmp_path: Path) -> None:
    with tables(tmp_path, several=False) as open_tables:
        open_tables.opened("0", samples.run_info())
        for index in (3, 5):
            open_tables.write(frame("0", index))
        open_tables.write(msgspec.structs.replace(made_up.health("0"), captured=8, published=2))  # the final counts
        open_tables.write(ended("0"))
    counts = meta(tmp_path / "rows.csv")["counts"]
    assert (counts["frames"], counts["dropped"]) == (2, 6)


def test_a_source_that_comes_a_second_time_overwrites_nothing(tmp_path: Path) -> None:
    with tables(tmp_path) as open_tables:
        for count in (1, 2):
            open_tables.check("door")
            open_tables.opened("door", samples.run_info())
            for index in range(count):
                open_tables.write(frame("door", index))
            open_tables.write(ended("door"))
    assert [rows(tmp_path / name) for name in ("rows.door.csv", "rows.door.2.csv")] == [1, 2]


def test_one_source_alone_has_the_name_that_was_given(tmp_path: Path) -> None:
    with tables(tmp_path, several=False) as open_tables:
        open_tables.opened("0", samples.run_info())
        open_tables.write(ended("0"))
    assert (tmp_path / "rows.csv").exists()


def test_an_existing_table_is_refused_before_its_source_begins(tmp_path: Path) -> None:
    (tmp_path / "rows.door.csv").write_text("precious")
    with tables(tmp_path) as open_tables, pytest.raises(OutputError, match="--overwrite"):
        open_tables.check("door")
    tables(tmp_path, overwrite=True).check("door")
    assert (tmp_path / "rows.door.csv").read_text() == "precious"


def run_into(error: Exception, folder: Path) -> None:
    """One row, and then the error."""
    with tables(folder) as open_tables:
        open_tables.opened("door", samples.run_info())
        open_tables.write(frame("door", 0))
        raise error


@pytest.mark.parametrize(
    "error",
    [
        WorkerError("door: processes died 4 times"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),  # the reader of stdout has left
        OSError(errno.EIO, "Input/output error"),  # the terminal is closed
    ],
)
def test_a_run_that_fails_keeps_its_rows_and_says_so(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)):
        run_into(error, tmp_path)
    assert (rows(tmp_path / "rows.door.csv"), state(tmp_path / "rows.door.csv")) == (1, "interrupted")


def test_a_full_disk_under_one_table_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rows: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def run() -> None:
        with tables(tmp_path) as open_tables:
            for name in ("door", "desk"):
                open_tables.opened(name, samples.run_info())
                open_tables.write(frame(name, 0))
            monkeypatch.setattr(open_tables._open["door"]._encoder, "write", full)
            open_tables.write(frame("door", 1))

    with pytest.raises(OutputError, match="the disk is full"):
        run()
    assert not (tmp_path / "rows.door.csv").exists()
    assert (rows(tmp_path / "rows.desk.csv"), state(tmp_path / "rows.desk.csv")) == (1, "interrupted")


def test_a_defect_leaves_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_into(ZeroDivisionError(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    with SourceTables(None, several=True, command="", overwrite=False) as open_tables:
        open_tables.check("door")
        open_tables.opened("door", samples.run_info())
        open_tables.write(frame("door", 0))
        open_tables.write(ended("door"))
        assert open_tables.written == []
