"""A part of the GPU's benchmark that breaks off costs the other parts nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import gpu
from rtau.engines import Choice
from rtau.gpu.lane import Network
from rtau.models import load_artifact
from tests.rtau.gpu.host import HostDevice

CARD = load_artifact("default", "au").card


def test_a_part_that_breaks_off_loses_no_other_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measured(name: str) -> Iterator[str]:
        yield f"{name}: 1 face/s"

    def breaking() -> Iterator[str]:
        yield "| batch 1 | 5 |"
        raise RuntimeError("CUDA out of memory\nand more")

    monkeypatch.setattr(gpu, "choose", lambda device: Choice("cuda", 0, "cuda-fp16 on NVIDIA Host (cuda:0)"))
    monkeypatch.setattr(gpu, "cuda_device", lambda index: HostDevice())
    for name in ("_ceilings", "_default_encoder", "_preprocessing", "_sources", "_against_targets", "_compiled"):
        monkeypatch.setattr(gpu, name, lambda *_, name=name: measured(name))
    monkeypatch.setattr(gpu, "_swin", lambda *_: breaking())
    document = tmp_path / "gpu.md"
    document.write_text("Before.\n<!-- figures: begin -->\nold\n<!-- figures: end -->\n")
    result = CliRunner().invoke(gpu.main, ["--write", str(document)])
    assert result.exit_code == 1
    assert "1 of 7 parts broke off" in result.output
    written = document.read_text().splitlines()
    assert "_ceilings: 1 face/s" in written
    assert written.index("| batch 1 | 5 |") < written.index("Broke off here: RuntimeError: CUDA out of memory.")
    assert written.index("_against_targets: 1 face/s") > written.index("_sources: 1 face/s")
    assert "old" not in written


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> gpu._Encoder:
    """The quickest of encoders, on a device where half a second passes with all work."""
    monkeypatch.setattr(gpu, "_seconds", lambda work: 0.5 if work() is not None else 0.0)
    monkeypatch.setattr(gpu, "_swin_t", lambda device: found)
    monkeypatch.setattr(gpu, "_encoder", lambda device: found)
    found = gpu._Encoder("Small", CARD, torch.nn.Flatten(), Flat(), {"image": (3, 8, 8)}, flops=1.0)
    return found


class Flat:
    def at(self, shapes: dict[str, tuple[int, ...]]) -> Network:
        return lambda inputs: {"out": inputs["image"].flatten(1)}


class FailsAlone:
    def at(self, shapes: dict[str, tuple[int, ...]]) -> Network:
        raise RuntimeError("no graphs here")


def test_a_form_of_the_network_that_fails_costs_its_row_only(encoder: gpu._Encoder) -> None:
    rows = list(gpu._forms(HostDevice(), encoder, {"cuda": FailsAlone()}, {"matrix": 1.0}))  # type: ignore[arg-type]
    assert any(row.startswith("| graph of `cuda` | failed: RuntimeError | failed") for row in rows)
    assert any(row.startswith("| PyTorch eager | 2 (") for row in rows)


def test_attention_that_refuses_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(work: object) -> float:
        if torch.backends.cuda.cudnn_sdp_enabled():
            raise RuntimeError("No valid execution plans built")
        return 0.5

    monkeypatch.setattr(gpu, "_seconds", seconds)
    assert gpu._quickest_attention(torch.nn.Flatten(), torch.zeros(1)) == gpu.SDPBackend.EFFICIENT_ATTENTION


def test_no_compilation_begins_when_time_is_up(encoder: gpu._Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []

    def compiling(net: torch.nn.Module, **_: object) -> torch.nn.Module:
        times.append(300.0)  # seconds that it takes
        return net

    monkeypatch.setattr(torch, "compile", compiling)
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: 100.0 + sum(times))
    rows = list(gpu._compiled(HostDevice(), {"matrix": 1.0}, 0.0))  # type: ignore[arg-type]
    assert [row.count("not measured: time was up") for row in rows if row.startswith("| Small")] == [1, 2]
    assert len(times) == 1


def test_short_work_is_measured_in_a_row_so_that_launching_it_does_not_weigh(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pending = 0.0, 0.0  # of a device that idles until work comes; seconds

    class Event:
        def __init__(self, enable_timing: bool) -> None: ...

        def record(self) -> None:
            self.at = max(now, pending)

        def synchronize(self) -> None:
            wait()

        def elapsed_time(self, end: "Event") -> float:
            return 1e3 * (end.at - self.at)

    def work() -> None:
        nonlocal now, pending
        now += 1e-4  # the launch
        pending = max(now, pending) + 2e-4

    def wait() -> None:
        nonlocal now
        now = max(now, pending)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: now)
    assert gpu._seconds(work) == pytest.approx(2e-4, rel=0.05)
