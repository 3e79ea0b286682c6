"""Our side: one run as `rtau process` makes it, CSV included. Prints one line of JSON."""

import json
import resource
import sys
import tempfile
from pathlib import Path

from rtau.process import Job, run_job


def main(clip: str, max_faces: int) -> None:
    """The default configuration."""
    with tempfile.TemporaryDirectory() as folder:
        summary = run_job(Job(source=clip, out=Path(folder) / "aus.csv", max_faces=max_faces))
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    result = {
        "frames": summary.counts.frames,
        "faces": summary.counts.faces,
        "seconds": summary.running_s,
        "start_up_s": summary.start_up_s,
        "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in usages),
        "stage_ms": {time.stage: 1e3 * time.busy_s / max(time.frames, 1) for time in summary.times},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
