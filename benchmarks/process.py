"""Whole runs of `rtau process` against MediaPipe FaceLandmarker, on 720p with one face and with five.

    python -m benchmarks.process --write docs/benchmarks.md      (needs .venv-mediapipe, see mediapipe_peer.py)
    python -m benchmarks.process --soak 20                       (memory over a 20-minute video)

Runs alternate; figures are medians over the runs, ratios are taken pair by pair. Start-up is reported apart.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import click
import numpy as np

from benchmarks.machine import cpu_model
from benchmarks.make_clips import five_faces, one_face
from benchmarks.memory import Sampler
from rtau.align import region
from rtau.config import PipelineConfig, SourceConfig
from rtau.crop import crop
from rtau.decode import Decode
from rtau.engines import open_engine
from rtau.models import load_artifact
from train.evaluation.document import replace_figures

TARGETS = {1: 2.0, 5: 3.0}  # faces: times the peer's frames a second
MAX_PSS_MB = 1200.0

Result = dict[str, Any]


@click.command()
@click.option("--runs", default=5, show_default=True)
@click.option("--peer-python", default=".venv-mediapipe/bin/python", show_default=True)
@click.option("--bundle", default="../shared/models/face_landmarker.task", show_default=True)
@click.option("--clips", default="out", type=click.Path(path_type=Path), show_default=True)
@click.option("--soak", type=float, metavar="MINUTES", help="Only follow the memory over a video this long.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Document whose figures are replaced.")
def main(runs: int, peer_python: str, bundle: str, clips: Path, soak: float | None, write: Path | None) -> None:
    """Measure and print."""
    if soak is not None:
        click.echo(soaked(one_face(clips), clips, soak))
        return
    lines = [
        f"Measured {datetime.date.today().isoformat()} by `python -m benchmarks.process --write docs/benchmarks.md` on "
        f"{os.cpu_count()} cores of an {platform.machine()} CPU ({cpu_model()}). H.264, 1280x720, {runs} runs each in "
        "turn, medians; frames a second after start-up, decoding and writing the table included."
    ]
    for faces, clip in ((1, one_face(clips)), (5, five_faces(clips))):
        ours, theirs = [], []
        for run in range(runs):
            click.echo(f"{faces} face(s), run {run + 1} of {runs}", err=True)
            ours.append(rtau(clip, faces)[0])
            theirs.append(mediapipe(peer_python, clip, bundle, faces))
        lines += compared(faces, ours, theirs, rtau(clip, faces, sample_every_s=0.5)[1], ceiling_ms(clip, faces))
    text = "\n".join(lines) + "\n"
    click.echo(text)
    if write is not None:
        replace_figures(write, text)


def rtau(clip: Path, faces: int, sample_every_s: float | None = None) -> tuple[Result, float]:
    """One run of ours, and its peak memory in MB where it is sampled, which costs some speed."""
    command = [sys.executable, "-m", "benchmarks.rtau_run", str(clip), str(faces)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        sampler = None if sample_every_s is None else Sampler(process, sample_every_s)
        out, _ = process.communicate()
    if sampler is None:
        return _json(out), 0.0
    sampler.join()
    return _json(out), max(mb for _, mb in sampler.samples)


def mediapipe(python: str, clip: Path, bundle: str, faces: int) -> Result:
    """One run of the peer."""
    command = [python, "benchmarks/mediapipe_peer.py", str(clip), bundle, str(faces)]
    return _json(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def compared(
    faces: int, ours: list[Result], theirs: list[Result], peak_mb: float, ceiling: dict[str, float]
) -> list[str]:
    """The report of one clip."""
    ratios = [_fps(a) / _fps(b) for a, b in zip(ours, theirs, strict=True)]
    ratio, ideal_fps = statistics.median(ratios), (os.cpu_count() or 1) * 1e3 / sum(ceiling.values())
    stages = {name: statistics.median(run["stage_ms"][name] for run in ours) for name in ours[0]["stage_ms"]}
    fps = statistics.median(map(_fps, ours))
    rows = [
        ("rtau", ours, f"{peak_mb:.0f} MB"),
        ("MediaPipe FaceLandmarker", theirs, ""),
    ]
    lines = [
        "",
        f"### {'One face' if faces == 1 else 'Five faces'}",
        "",
        "| | frames/s | CPU ms a frame | faces a frame | start-up | memory, all processes |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs, memory in rows:
        cpu = statistics.median(1e3 * run["cpu_s"] / run["frames"] for run in runs)
        seen = statistics.median(run["faces"] / run["frames"] for run in runs)
        start = statistics.median(run["start_up_s"] for run in runs)
        lines.append(
            f"| {name} | {statistics.median(map(_fps, runs)):.0f} | {cpu:.1f} | {seen:.2f} | {start:.1f} s | {memory} |"
        )
    small = "reached" if peak_mb < MAX_PSS_MB else "**not reached**"
    reached = "reached" if ratio >= TARGETS[faces] else "**not reached**"
    lines += [
        "",
        f"Ratio pair by pair: median **{ratio:.2f}** (least {min(ratios):.2f}, greatest {max(ratios):.2f}); target "
        f"{TARGETS[faces]:g}: {reached}. Memory target under {MAX_PSS_MB:.0f} MB: {small}.",
        "",
        "Stages, busy ms a frame: "
        + ", ".join(f"{name} {ms:.2f}" for name, ms in stages.items())
        + ". Ceiling: with both "
        "cores doing nothing but "
        + ", ".join(f"{name} ({ms:.2f} ms)" for name, ms in ceiling.items())
        + f", each measured alone, {ideal_fps:.0f} frames/s; reached {fps / ideal_fps:.0%} of it.",
    ]
    return lines


def ceiling_ms(clip: Path, faces: int) -> dict[str, float]:
    """The least work of a frame, each part alone on one core, in ms: decoding, cropping, the two networks."""
    config = PipelineConfig()
    with Decode(SourceConfig(path=str(clip))) as decode:
        started = time.perf_counter()
        frames = 0
        for frame in decode:
            frames += 1
            picture = frame.picture
        decoding = 1e3 * (time.perf_counter() - started) / frames
        assert picture is not None
        parts = {"decoding": decoding, "cropping": 0.0}
        for role in ("landmarks", "au"):
            artifact = load_artifact("default", role)  # type: ignore[arg-type]
            engine, side = open_engine(artifact, config), artifact.card.input_size
            regions = np.stack([region(np.array([300.0 + 150 * f, 300.0]), 280.0, 0.1, side) for f in range(faces)])
            mean, std = artifact.card.mean, artifact.card.std
            inputs = {"image": crop(picture, regions, (side, side), mean, std)}
            if role == "au":
                inputs["points"] = np.zeros((faces, 478, 2), np.float32)
            parts["cropping"] += _least_ms(partial(crop, picture, regions, (side, side), mean, std))
            parts[f"the {role} network"] = _least_ms(partial(engine, inputs))
    return parts


def soaked(clip: Path, folder: Path, minutes: float) -> str:
    """Memory over a long video: the clip again and again, without encoding anew."""
    path = folder / f"soak_{minutes:g}_minutes.mp4"
    if not path.exists():
        _repeat(clip, path, minutes * 60)
    command = [sys.executable, "-m", "benchmarks.rtau_run", str(path), "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        sampler = Sampler(process, every_s=2.0)
        result = _json(process.communicate()[0])
        sampler.join()
    t, mb = np.array(sampler.samples[5:-2]).T  # without start-up and the end
    slope = np.polyfit(t / 60, mb, 1)[0]
    quarter = max(len(mb) // 4, 1)
    return (
        f"{result['frames']} frames ({minutes:g} minutes of video) in {result['seconds']:.0f} s: memory of all "
        f"processes {mb[:quarter].mean():.0f} MB in the first quarter, {mb[-quarter:].mean():.0f} MB in the last, "
        f"peak {mb.max():.0f} MB, "
        f"slope {slope:+.1f} MB a minute"
    )


def _repeat(clip: Path, path: Path, seconds: float) -> None:
    with av.open(str(path), "w") as target:
        stream, offset, end = None, 0, 0
        while True:
            with av.open(str(clip)) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                    end = max(end, packet.pts + (packet.duration or 0))
                    if packet.time_base is not None and end * packet.time_base > seconds:
                        return
                    target.mux(packet)
            offset = end


def _least_ms(work: Callable[[], object], times: int = 40) -> float:
    work()
    spans = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        spans.append(time.perf_counter() - started)
    return 1e3 * statistics.median(spans)


def _fps(result: Result) -> float:
    return float(result["frames"] / result["seconds"])


def _json(text: str) -> Result:
    result: Result = json.loads(text.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
