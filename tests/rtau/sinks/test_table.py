import contextlib
import csv
import errno
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from rtau.errors import OutputError
from rtau.facs import AU_COLUMNS
from rtau.sinks.meta import LayoutName
from rtau.sinks.table import TableWriter, check_table, open_table
from tests.rtau.sinks.samples import face, frame, run_info


def table_at(out: Path | None, **changes: object) -> TableWriter:
    options = {"source": "clip.mp4", "command": "rtau process clip.mp4 --out aus.csv"} | changes
    return open_table(out, "rtau", run_info(), **options)  # type: ignore[arg-type]


def four_frames(table: TableWriter) -> None:
    table.write(frame(0, face(1, intensity={"AU12L": 2.0})))
    table.write(frame(1, face(1), face(2, low_quality=True)))
    table.write(frame(2))
    table.write(frame(3, reason="decode_error"))


@pytest.mark.parametrize("name", ["aus.csv", "aus.parquet", "AUS.CSV"])
def test_a_table_appears_only_when_it_is_whole(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    table = table_at(out)
    four_frames(table)
    assert not out.exists()
    table.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.meta.json"]


@pytest.mark.parametrize("name", ["aus.csv", "aus.parquet"])
def test_an_abandoned_table_leaves_nothing_and_keeps_the_old_one(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    out.write_text("old")
    table = table_at(out, overwrite=True)
    four_frames(table)
    table.abandon()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert out.read_text() == "old"


def test_csv_and_parquet_hold_the_same_numbers(tmp_path: Path) -> None:
    for name in ("aus.csv", "aus.parquet"):
        table = table_at(tmp_path / name)
        four_frames(table)
        table.finish()
    with (tmp_path / "aus.csv").open(newline="") as file:
        text = list(csv.DictReader(file))
    typed = pq.read_table(tmp_path / "aus.parquet").to_pylist()
    assert [list(row) for row in text] == [list(row) for row in typed]
    for written, read in zip(text, typed, strict=True):
        for name, cell in written.items():
            if read[name] is None:
                assert cell == ""
            elif isinstance(read[name], str):
                assert cell == read[name]
            else:
                assert float(cell) == read[name]


def test_parquet_has_types_nulls_and_the_run_in_its_metadata(tmp_path: Path) -> None:
    table = table_at(tmp_path / "aus.parquet")
    four_frames(table)
    table.finish()
    schema = pq.read_schema(tmp_path / "aus.parquet")
    types = {name: str(schema.field(name).type) for name in ("frame", "pts_s", "AU12_r", "AU12_c", "reason")}
    assert types == {"frame": "int64", "pts_s": "double", "AU12_r": "double", "AU12_c": "int64", "reason": "string"}
    meta = json.loads(schema.metadata[b"rtau"])
    assert (meta["engine"], meta["source"]["name"]) == ("openvino-cpu", "clip.mp4")


def test_a_long_parquet_table_does_not_grow_memory(tmp_path: Path) -> None:
    one = frame(0, face(1, intensity={"AU12": 1.5}))
    table = table_at(tmp_path / "aus.parquet")
    tracemalloc.start()
    try:
        for i in range(5000):
            table.write(msgspec.structs.replace(one, frame_index=i))
        tracemalloc.reset_peak()
        first = tracemalloc.get_traced_memory()[0]
        for i in range(5000, 15_000):
            table.write(msgspec.structs.replace(one, frame_index=i))
        grown = tracemalloc.get_traced_memory()[1] - first
    finally:
        tracemalloc.stop()
    table.finish()
    assert grown < 32e6
    assert pq.read_metadata(tmp_path / "aus.parquet").num_row_groups == 4


def test_the_sidecar_says_where_the_numbers_come_from(tmp_path: Path) -> None:
    aus = ("AU12", "AU04")
    table = open_table(tmp_path / "aus.csv", "rtau", run_info(aus), source="clip.mp4", command="rtau process clip.mp4")
    table.write(frame(0, face(1, aus=aus)))
    table.write(frame(1, face(1, aus=aus), face(2, aus=aus, low_quality=True)))
    table.write(frame(2))
    table.finish("damaged", "clip.mp4: ends early")
    meta = json.loads((tmp_path / "aus.csv.meta.json").read_text())
    assert (meta["rtau"], meta["command"], meta["engine"]) == ("0.1.0", "rtau process clip.mp4", "openvino-cpu")
    assert meta["weights"]["au"] == {"name": "aunce-1-0123abcd", "sha256": "0123abcd" * 8}
    assert meta["aus"] == ["AU12", "AU04"]
    assert meta["not_estimated"] == [au for au in AU_COLUMNS if au not in aus]
    assert (meta["source"]["width"], meta["source"]["codec"]) == (640, "h264")
    assert (meta["state"], meta["problem"]) == ("damaged", "clip.mp4: ends early")
    assert meta["counts"] == {
        "frames": 3,
        "rows": 4,
        "faces": 3,
        "tracks": 2,
        "dropped": 0,
        "reasons": {"no_face": 1, "low_quality": 1, "decode_error": 0},
    }


def test_missing_frames_are_counted_as_dropped(tmp_path: Path) -> None:
    table = table_at(tmp_path / "aus.csv")
    for index in (5, 6, 9):
        table.write(frame(index))
    meta = table.finish()
    assert meta.counts is not None
    assert meta.counts.dropped == 5 + 2
    table = table_at(tmp_path / "tail.csv")
    table.write(frame(0))
    table.captured(4)
    meta = table.finish()
    assert meta.counts is not None
    assert meta.counts.dropped == 3


def test_every_column_has_a_unit_in_the_sidecar(tmp_path: Path) -> None:
    layouts: tuple[LayoutName, ...] = ("rtau", "openface")
    for layout in layouts:
        table = open_table(tmp_path / f"{layout}.csv", layout, run_info(), source="clip.mp4", command="rtau")
        units = table.finish().units
        explained = {name for key in units for name in key.split(", ")}
        header = (tmp_path / f"{layout}.csv").read_text().strip().split(",")
        for name in header:
            generic = f"AUxx{name[4:]}" if name.startswith("AU") else name
            point = f"{name[0]}_0..{name[0]}_67"
            assert {generic, point} & explained, name


def test_csv_goes_to_stdout_frame_by_frame(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    table = table_at(None)
    table.write(frame(0, face(1)))
    seen = capsysbinary.readouterr().out
    assert seen.startswith(b"frame,pts_s,track_id")
    assert seen.count(b"\n") == 2
    table.write(frame(1))
    table.finish()
    assert capsysbinary.readouterr().out.startswith(b"1,0.040000,,")
    assert not sys.stdout.buffer.closed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    script = """
from rtau.errors import OutputError
from tests.rtau.sinks.samples import frame
from tests.rtau.sinks.test_table import table_at
try:
    table_at(None).write(frame(0))
except OutputError as error:
    import os, sys
    print(error, file=sys.stderr, flush=True)
    os._exit(error.exit_code)
"""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == OutputError.exit_code
    assert done.stderr.decode() == "stdout: the disk is full, nothing was kept; free some space or write elsewhere\n"


# Bad output, found before the run


def test_unknown_extension(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"aus\.xlsx: the name must end in \.csv or \.parquet"):
        check_table(tmp_path / "aus.xlsx", "clip.mp4", overwrite=False)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"the folder .*none does not exist; create it"):
        check_table(tmp_path / "none" / "aus.csv", "clip.mp4", overwrite=False)


def test_existing_file_needs_overwrite(tmp_path: Path) -> None:
    out = tmp_path / "aus.csv"
    out.write_text("old")
    with pytest.raises(OutputError, match=r"exists already; use --overwrite"):
        check_table(out, "clip.mp4", overwrite=False)
    table = table_at(out, overwrite=True)
    table.finish()
    assert out.read_text().startswith("frame,")


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "aus.csv").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_table(tmp_path / "aus.csv", "clip.mp4", overwrite=True)


def test_a_folder_in_the_place_of_the_sidecar(tmp_path: Path) -> None:
    (tmp_path / "aus.csv.meta.json").mkdir()
    with pytest.raises(OutputError, match=r"aus\.csv\.meta\.json: is a folder"):
        check_table(tmp_path / "aus.csv", "clip.mp4", overwrite=False)


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "clip.csv"
    source.write_text("a video")
    (tmp_path / "link.csv").symlink_to(source)
    for name in ("clip.csv", "link.csv"):
        with pytest.raises(OutputError, match="is the input"):
            check_table(tmp_path / name, str(source), overwrite=True)


def test_a_protected_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, whom no mode bits stop
    with pytest.raises(OutputError, match="is write-protected"):
        check_table(tmp_path / "aus.csv", "clip.mp4", overwrite=False)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "aus.csv").symlink_to(tmp_path / "disk" / "real.csv")
    table_at(tmp_path / "aus.csv").finish()
    assert (tmp_path / "disk" / "real.csv").is_file()
    assert (tmp_path / "aus.csv").is_symlink()


# Disk full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("name", ["aus.csv", "aus.parquet"])
def test_disk_full_while_writing(small_disk: Path, name: str) -> None:
    with pytest.raises(OutputError, match=rf"{name}: the disk is full"):
        write_until_finished(small_disk / name, 20_000)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("free", [0, 4096])
def test_disk_full_at_the_end(small_disk: Path, free: int) -> None:
    """The last rows wait in a buffer, or only the sidecar has no room."""
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    os.truncate(filler, filler.stat().st_size - free)
    with pytest.raises(OutputError, match="the disk is full"):
        write_until_finished(small_disk / "aus.csv", 1)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def write_until_finished(out: Path, frames: int) -> None:
    table = table_at(out)
    for i in range(frames):
        table.write(
            frame(i, face(i % 97 + 1, intensity={"AU12": i % 89 / 20, "AU04": i % 83 / 20, "AU26": i % 79 / 20}))
        )
    table.finish()


@pytest.mark.parametrize("name", ["aus.csv", "aus.parquet"])
def test_disk_full_when_the_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    table = table_at(tmp_path / name)
    table.write(frame(0, face(1)))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        table.finish()
    assert list(tmp_path.iterdir()) == []


def test_the_reader_of_stdout_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.BytesIO):
        def flush(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    table = table_at(None)
    table._file = Left()
    with pytest.raises(BrokenPipeError):
        table.write(frame(0))
