"""The main job: a file in, a table out, with its sidecar and, if wanted, an overlay."""

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import msgspec

from rtau.config import PipelineConfig, SourceConfig, load_config
from rtau.errors import DamagedSourceError, Interrupted, RtauError
from rtau.messages import AUFrame, RunInfo, StageTime
from rtau.pipeline import InProcess, InProcesses, open_run
from rtau.sinks import overlay, table
from rtau.sinks.files import check_target
from rtau.sinks.meta import State, meta_path, write_meta
from rtau.sinks.table import LayoutName, TableWriter

Progress = Callable[[str, int, int | None], None]  # what, done, total


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for; None leaves a value to the configuration."""

    source: Path
    out: Path | None  # None: CSV on stdout
    config: Path | None = None
    device: str | None = None
    max_faces: int | None = None
    start_s: float = 0.0
    end_s: float | None = None
    layout: LayoutName = "rtau"
    overlay: Path | None = None
    overwrite: bool = False
    command: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job."""

    info: RunInfo
    frames: int
    faces: int
    tracks: int
    reasons: dict[str, int]
    start_up_s: float
    running_s: float
    times: list[StageTime]
    written: list[Path]
    problem: RtauError | None  # the rows up to here are written

    def lines(self) -> list[str]:
        """A few lines for a person."""
        fps = self.frames / self.running_s if self.running_s > 0 else 0.0
        stages = ", ".join(f"{t.stage} {1e3 * t.busy_s / max(t.frames, 1):.2f}" for t in self.times)
        reasons = ", ".join(f"{name} {count}" for name, count in self.reasons.items() if count)
        return [
            f"{self.frames} frames, {self.faces} faces in {self.tracks} tracks{f' ({reasons})' if reasons else ''}, dropped 0",
            f"{fps:.0f} frames/s after {self.start_up_s:.1f} s start-up; ms a frame: {stages}",
            f"engine {self.info.engine}; weights {', '.join(self.info.weights.values())}",
            *(f"wrote {path}" for path in self.written),
        ]


def run_job(job: Job, progress: Progress = lambda what, done, total: None) -> Summary:
    """Process the source and write everything that the job asks for.

    Raises RtauError when nothing could be written. A source that ends in damage, or a user who stops the run, leaves
    complete files with the rows so far; the Summary then names the problem.
    """
    started = time.perf_counter()
    config, source = _settle(job)
    if job.out is not None:
        check_target(job.out, table.SUFFIXES, overwrite=job.overwrite, source=str(job.source))
        check_target(meta_path(job.out), (".json",), overwrite=job.overwrite, source=str(job.source))
    if job.overlay is not None:
        check_target(job.overlay, overlay.SUFFIXES, overwrite=job.overwrite, source=str(job.source))
    counts, tracks, problem, written = Counter[str](), set[int](), None, list[Path]()
    with contextlib.ExitStack() as stack:
        run = open_run(config, source)
        writer = stack.enter_context(TableWriter(job.out, job.layout, run.info))
        spool = stack.enter_context(overlay.Spool(job.overlay.parent)) if job.overlay else None
        with _stoppable(run) as stopped, run:
            ready = time.perf_counter()
            try:
                for frame in run:
                    writer.write(frame)
                    if spool is not None:
                        spool.write(frame)
                    _count(frame, counts, tracks)
                    progress("faces and AUs", counts["frames"], run.info.source.frames)
            except DamagedSourceError as error:
                problem = error
            if stopped:
                problem = Interrupted(f"stopped at frame {counts['frames']}; the rows up to there are written")
        done = time.perf_counter()
        if job.out is not None:
            state: State = "complete" if problem is None else "interrupted" if stopped else "damaged"
            write_meta(
                job.out, run.info, command=job.command, state=state, problem=str(problem or ""), layout=job.layout,
                counts=counts, rows=writer.rows,
            )  # fmt: skip
        writer.finish()
        written += [job.out] if job.out else []
        if job.overlay is not None and spool is not None and counts["frames"]:
            overlay.draw_overlay(
                source, spool, run.info, job.overlay, lambda n: progress("overlay", n, counts["frames"])
            )
            written.append(job.overlay)
    return Summary(
        info=run.info,
        frames=counts["frames"],
        faces=counts["faces"],
        tracks=len(tracks),
        reasons={name: counts[name] for name in ("no_face", "low_quality", "decode_error")},
        start_up_s=ready - started,
        running_s=done - ready,
        times=run.times,
        written=written,
        problem=problem,
    )


def _settle(job: Job) -> tuple[PipelineConfig, SourceConfig]:
    """The configuration file with the command line's values over it."""
    config = load_config(job.config)
    if job.device is not None:
        config = msgspec.convert(msgspec.to_builtins(config) | {"device": job.device}, PipelineConfig)
    if job.max_faces is not None:
        config = msgspec.structs.replace(config, faces=msgspec.structs.replace(config.faces, max_faces=job.max_faces))
    if job.overlay is not None or job.layout == "openface":
        config = msgspec.structs.replace(config, au=msgspec.structs.replace(config.au, landmarks=True))
    return config, SourceConfig(path=str(job.source), start_s=job.start_s, end_s=job.end_s)


def _count(frame: AUFrame, counts: Counter[str], tracks: set[int]) -> None:
    counts["frames"] += 1
    counts["faces"] += len(frame.faces)
    counts["low_quality"] += sum(face.low_quality for face in frame.faces)
    if frame.reason:
        counts[frame.reason] += 1
    tracks.update(face.track_id for face in frame.faces)


@contextlib.contextmanager
def _stoppable(run: InProcess | InProcesses) -> Iterator[list[int]]:
    """The first Ctrl-C (or SIGTERM) ends decoding and lets the rest come out, the second stops at once.

    Yields a list that holds the signals that came.
    """
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            raise Interrupted("stopped at once; nothing was written")
        run.stop()

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
