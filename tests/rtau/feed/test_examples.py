"""The example programs print what was published."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.rtau.feed import made_up

EXAMPLES = Path(__file__).parents[3] / "examples"
EXPECTED = [
    "cam 0.000 face 1 AU06=0.84 AU12=0.91",
    "cam 0.000 face 2 AU12=0.91",
    "cam 0.125 face 3 AU12=0.91 AU25=0.70",
]


def first_lines(*command: object) -> list[str]:
    """What the program prints of three frames with three faces."""
    with made_up.publisher() as feed:
        arguments = [*map(str, command), feed.endpoints[0]]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        timer = threading.Timer(60, process.kill)
        timer.start()
        try:
            feed.hello("cam", made_up.hello())
            made_up.wait_for_subscription(feed, timeout_s=60)
            faint = made_up.face(2, occurrence=[0.4, 0.91, 0.6], intensity=[2.0, 1.0, 0.9])
            known = made_up.face(3, occurrence=[0.84, 0.91, 0.7], intensity=[3.0, 3.0, 0.4], calibrated=[0.4, 2.0, 1.5])
            for frame in (made_up.frame(0, made_up.face(), faint), made_up.frame(1), made_up.frame(4, known)):
                feed.send("au.cam", frame)
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in EXPECTED]
        finally:
            timer.cancel()
            timer.join()
            process.kill()
            _, said = process.communicate()
        assert said == ""
        return lines


def test_plain_python() -> None:
    pytest.importorskip("msgpack", reason="msgpack is not installed")
    assert first_lines(sys.executable, EXAMPLES / "subscriber_pyzmq.py") == EXPECTED


def test_node(tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node and npm are not installed")
    for name in ("package.json", "subscriber.mjs"):
        shutil.copy(EXAMPLES / name, tmp_path)
    install = [npm, "install", "--no-audit", "--no-fund", "--fetch-retries=0"]
    installed = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if installed.returncode:
        pytest.skip(f"npm cannot install the packages: {installed.stderr.strip().splitlines()[-1:]}")
    loads = subprocess.run([node, "-e", "require('zeromq')"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if loads.returncode:
        pytest.skip("the zeromq package has no binary for this machine")
    assert first_lines(node, tmp_path / "subscriber.mjs") == EXPECTED
