"""A user who stops the job when all frames are read: the table is whole, and nothing half-drawn is left."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from rtau import process
from rtau.config import PipelineConfig, RuntimeConfig
from rtau.errors import Interrupted
from rtau.messages import AUFrame
from rtau.process import Job, run_job
from rtau.two_pass import WholeClip
from tests.rtau import film

FRAMES = 6


@pytest.fixture
def job(tmp_path: Path) -> Job:
    clip = film.face_clip(tmp_path / "face.mp4", [lambda t: (160, 120, 90, 0)], seconds=FRAMES / 30, size=(320, 240))
    config = PipelineConfig(runtime=RuntimeConfig(processes=False))
    (tmp_path / "out").mkdir()
    return Job(source=str(clip), out=tmp_path / "out" / "aus.csv", config=config)


def only_the_whole_table(folder: Path) -> bool:
    meta = json.loads((folder / "aus.csv.meta.json").read_text())
    assert (meta["state"], meta["counts"]["frames"]) == ("complete", FRAMES)
    return sorted(path.name for path in folder.iterdir()) == ["aus.csv", "aus.csv.meta.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_drawing_and_leaves_the_table(job: Job, tmp_path: Path, number: signal.Signals) -> None:
    def progress(what: str, done: int, total: int | None) -> None:
        if (what, done) == ("overlay", 3):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="the table is written, the overlay is not"):
        run_job(replace(job, overlay=tmp_path / "out" / "face.mp4"), progress)
    assert only_the_whole_table(tmp_path / "out")
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("overlay", [False, True])
def test_a_signal_in_the_second_look_loses_no_row(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlay: bool
) -> None:
    class Interrupting(WholeClip):
        def __iter__(self) -> Iterator[AUFrame]:
            os.kill(os.getpid(), signal.SIGINT)
            return super().__iter__()

    monkeypatch.setattr(process, "WholeClip", Interrupting)
    job = replace(job, two_pass=True)
    if overlay:
        with pytest.raises(Interrupted, match="the overlay is not"):
            run_job(replace(job, overlay=tmp_path / "out" / "face.mp4"))
    else:
        assert run_job(job).problem is None
    assert only_the_whole_table(tmp_path / "out")
