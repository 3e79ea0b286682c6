"""Memory of a process and all its children: proportional set size, so that shared pages count once."""

import contextlib
import subprocess
import threading
import time
from pathlib import Path

import psutil


def pss_mb(pid: int) -> float:
    """Of the whole tree now, in MB; processes that end meanwhile count as nothing."""
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
                total += int(rollup.split("\nPss:")[1].split()[0])
    return total / 2**10


class Sampler:
    """Samples a running command's memory until it ends."""

    def __init__(self, process: "subprocess.Popen[str]", every_s: float) -> None:
        self.samples: list[tuple[float, float]] = []  # seconds since the start, MB
        self._thread = threading.Thread(target=self._run, args=(process, every_s), daemon=True)
        self._thread.start()

    def _run(self, process: "subprocess.Popen[str]", every_s: float) -> None:
        started = time.monotonic()
        while process.poll() is None:
            self.samples.append((time.monotonic() - started, pss_mb(process.pid)))
            time.sleep(every_s)

    def join(self) -> None:
        self._thread.join()
