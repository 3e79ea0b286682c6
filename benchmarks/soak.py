"""A long run with everything that comes and goes: does it grow? Memory, file handles, threads, shared memory.

One source is a clip again and again; another one ends and is opened again, with all its processes; subscribers come and
go. Growth is the lowest value of the last third against that of the first third, after the start: what leaks is never
given back, so that the lowest value rises.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import psutil

import rtau
from benchmarks.films import film
from benchmarks.memory import pss_mb
from rtau.messages import RunHealth

_ENDPOINT = "tcp://127.0.0.1:5584"
_SETTLED_S = 20.0  # allocators and caches have what they need
_SECONDS = 6.0  # of the source that ends
_VISIT_S = 2.0  # of a subscriber


class Usage(NamedTuple):
    memory_mb: float
    handles: float
    threads: float
    segments: float  # of shared memory


_ALLOWED = Usage(memory_mb=10.0, handles=2.0, threads=0.0, segments=0.0)  # growth that is no leak


def soak(clip: Path, minutes: float) -> None:
    """Print the usage at the beginning and at the end; exit code 1 when it has grown, or when the run has ended."""
    with tempfile.TemporaryDirectory() as folder:
        short = film(clip, Path(folder) / "short.mp4", _SECONDS).path
        command = [sys.executable, "-m", "rtau", "stream", "--quiet", "--publish", _ENDPOINT, "--loop"]
        command += ["--source", str(clip), "--source", f"file://{short}"]
        process = subprocess.Popen(command)
        try:
            samples = _samples(process.pid, 60 * minutes)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
    third = len(samples) // 3
    first, last = (
        Usage(*(min(each) for each in zip(*part, strict=True))) for part in (samples[:third], samples[-third:])
    )
    for name, before, after in zip(Usage._fields, first, last, strict=True):
        click.echo(f"{name}: {before:.0f} -> {after:.0f}")
    grown = [name for name, a, b, most in zip(Usage._fields, first, last, _ALLOWED, strict=True) if b - a > most]
    if grown or code:
        raise click.ClickException(f"{', '.join(grown) or f'exit code {code}'} after {minutes:g} minutes")


def _samples(pid: int, seconds: float) -> list[Usage]:
    """Once a second, after the start."""
    with rtau.subscribe(_ENDPOINT, topics=("au.",), timeout_s=60) as feed:
        next(feed)
    begun = time.monotonic()
    samples = []
    while (now := time.monotonic()) < begun + _SETTLED_S + seconds:
        until = now + _VISIT_S
        with rtau.subscribe(_ENDPOINT, topics=("health.rtau", "au."), timeout_s=60) as feed:
            for message in feed:
                if isinstance(message, RunHealth) and now > begun + _SETTLED_S:
                    samples.append(_usage(pid))
                if time.monotonic() > until:
                    break
    return samples


def _lowest(samples: list[Usage]) -> Usage:
    return Usage(*(min(each) for each in zip(*samples, strict=True)))


def _usage(pid: int) -> Usage:
    """Of the command's own process and of shared memory; memory of all its processes."""
    own = psutil.Process(pid)
    return Usage(pss_mb(pid), own.num_fds(), own.num_threads(), len(os.listdir("/dev/shm")))
