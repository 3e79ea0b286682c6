"""The main job: a file in, a table out, with its sidecar and, if wanted, an overlay."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from calibration.baseline import Level
from rtau.config import PipelineConfig, SourceConfig, with_gallery
from rtau.errors import DamagedSourceError, Interrupted, RtauError, WorkerError
from rtau.gallery import gallery_errors
from rtau.messages import AUFrame, RunInfo, StageTime
from rtau.models import load_artifact
from rtau.persons import kept_neutral, open_run_gallery
from rtau.pipeline import open_run
from rtau.signals import stop_signals
from rtau.sinks.meta import Counts, LayoutName, state_after
from rtau.sinks.overlay import check_overlay, open_overlay
from rtau.sinks.table import check_table, open_table
from rtau.two_pass import WholeClip

Progress = Callable[[str, int, int | None], None]  # what, done, total


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for; None leaves a value to the configuration."""

    source: str  # path or address
    out: Path | None  # None: CSV on stdout
    config: PipelineConfig = PipelineConfig()
    device: str | None = None
    max_faces: int | None = None
    weights: str | None = None  # folder of another AU encoder
    start_s: float = 0.0
    end_s: float | None = None
    layout: LayoutName = "rtau"
    overlay: Path | None = None
    gallery: Path | None = None
    key: Path | None = None
    two_pass: bool = False
    overwrite: bool = False
    command: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job."""

    info: RunInfo
    counts: Counts
    start_up_s: float
    running_s: float
    times: list[StageTime]
    written: list[Path]
    problem: RtauError | None  # the rows up to here are written

    def lines(self) -> list[str]:
        """A few lines for a person."""
        counts = self.counts
        fps = counts.frames / self.running_s if self.running_s > 0 else 0.0
        stages = ", ".join(f"{t.stage} {1e3 * t.busy_s / max(t.frames, 1):.2f}" for t in self.times)
        reasons = ", ".join(f"{name} {count}" for name, count in counts.reasons.items() if count)
        return [
            f"{counts.frames} frames, {counts.faces} faces in {counts.tracks} tracks"
            f"{f' ({reasons})' if reasons else ''}, dropped {counts.dropped}",
            f"{fps:.0f} frames/s after {self.start_up_s:.1f} s start-up; ms a frame: {stages}",
            f"engine {self.info.engine}; weights {', '.join(self.info.weights.values())}",
            *(f"wrote {path}" for path in self.written),
        ]


def run_job(job: Job, progress: Progress = lambda what, done, total: None) -> Summary:
    """Process the source and write everything that the job asks for.

    Raises RtauError when nothing could be written, and Interrupted when the user stops the drawing of the overlay: then
    the table is there. A source that ends in damage, or a user who stops the reading, leaves complete files with the
    rows so far; the Summary then names the problem.
    """
    started = time.perf_counter()
    config, source = _settle(job)
    check_table(job.out, source.path, overwrite=job.overwrite)
    if job.overlay is not None:
        check_overlay(job.overlay, source.path, overwrite=job.overwrite)
    problem: RtauError | None = None
    with contextlib.ExitStack() as stack:
        run = open_run(config, source)
        came = stack.enter_context(stop_signals(run.stop, "stopped at once; nothing was written"))
        with run:
            table = stack.enter_context(
                open_table(
                    job.out, job.layout, run.info, source=source.path, command=job.command, overwrite=job.overwrite
                )
            )
            drawn = None
            if job.overlay is not None:
                drawn = stack.enter_context(open_overlay(job.overlay, source, run.info, overwrite=job.overwrite))

            def write(frame: AUFrame) -> None:
                table.write(frame)
                if drawn is not None:
                    drawn.write(frame)

            whole = None
            if config.persons.baseline == "two_pass":
                folder = None if job.out is None else job.out.absolute().parent
                whole = stack.enter_context(WholeClip(_kept(config), folder))
            ready = time.perf_counter()
            try:
                for done, frame in enumerate(run, 1):
                    (write if whole is None else whole.write)(frame)
                    progress("faces and AUs", done, run.info.source.frames)
            except DamagedSourceError as error:
                problem = DamagedSourceError(f"{error}; rows up to there were written")
            except WorkerError as error:
                raise WorkerError(f"{error}; the run was stopped and nothing was written") from error
            finished = time.perf_counter()
            stopped = bool(came)  # a signal that comes later finds all rows read
            if stopped:
                problem = Interrupted("stopped; the rows up to here are written")
        for frame in whole or ():
            write(frame)
        meta = table.finish(state_after(problem), None if problem is None else str(problem))
        if drawn is not None:
            with stop_signals(_leave_the_drawing):
                if came and not stopped:
                    _leave_the_drawing()
                drawn.finish(lambda done, total: progress("overlay", done, total))
    assert meta.counts is not None
    return Summary(
        info=run.info,
        counts=meta.counts,
        start_up_s=ready - started,
        running_s=finished - ready,
        times=run.times,
        written=[path for path in (job.out, job.overlay) if path is not None],
        problem=problem,
    )


def _leave_the_drawing() -> None:
    raise Interrupted("stopped; the table is written, the overlay is not")


def _settle(job: Job) -> tuple[PipelineConfig, SourceConfig]:
    """The configuration with the command line's values over it."""
    config = job.config
    if job.device is not None:
        config = msgspec.convert(msgspec.to_builtins(config) | {"device": job.device}, PipelineConfig)
    if job.weights is not None:
        config = msgspec.structs.replace(config, au=msgspec.structs.replace(config.au, encoder=job.weights))
    if job.max_faces is not None:
        config = msgspec.structs.replace(config, faces=msgspec.structs.replace(config.faces, max_faces=job.max_faces))
    persons = with_gallery(config.persons, job.gallery, job.key)
    if job.two_pass:
        persons = msgspec.structs.replace(persons, baseline="two_pass")
    config = msgspec.structs.replace(config, persons=persons)
    if job.overlay is not None or job.layout == "openface":
        config = msgspec.structs.replace(config, au=msgspec.structs.replace(config.au, landmarks=True))
    return config, SourceConfig(path=job.source, start_s=job.start_s, end_s=job.end_s)


def _kept(config: PipelineConfig) -> dict[str, Level]:
    """The neutral faces in the gallery, by name."""
    if config.persons.gallery is None:
        return {}
    card = load_artifact(config.au.encoder, "au").card
    with open_run_gallery(config) as gallery, gallery_errors():
        levels = {person.name: kept_neutral(person, card) for person in gallery.persons()}
    return {name: level for name, level in levels.items() if level is not None}
