"""What a measurement was made on."""

from pathlib import Path


def cpu_model() -> str:
    """The processor's name as Linux tells it."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown"
