"""A part of the GPU's benchmark that breaks off costs the other parts nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import gpu
from rtau.engines import Choice
from tests.rtau.gpu.host import HostDevice


def test_a_part_that_breaks_off_loses_no_other_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measured(name: str) -> Iterator[str]:
        yield f"{name}: 1 face/s"

    def breaking() -> Iterator[str]:
        yield "| batch 1 | 5 |"
        raise RuntimeError("CUDA out of memory\nand more")

    monkeypatch.setattr(gpu, "choose", lambda device: Choice("cuda", 0, "cuda-fp16 on NVIDIA Host (cuda:0)"))
    monkeypatch.setattr(gpu, "cuda_device", lambda index: HostDevice())
    for name in ("_ceilings", "_default_encoder", "_preprocessing", "_sources", "_against_targets"):
        monkeypatch.setattr(gpu, name, lambda *_, name=name: measured(name))
    monkeypatch.setattr(gpu, "_swin", lambda *_: breaking())
    document = tmp_path / "gpu.md"
    document.write_text("Before.\n<!-- figures: begin -->\nold\n<!-- figures: end -->\n")
    result = CliRunner().invoke(gpu.main, ["--write", str(document)])
    assert result.exit_code == 1
    assert "1 of 6 parts broke off" in result.output
    written = document.read_text().splitlines()
    assert "_ceilings: 1 face/s" in written
    assert written.index("| batch 1 | 5 |") < written.index("Broke off here: RuntimeError: CUDA out of memory.")
    assert written.index("_against_targets: 1 face/s") > written.index("_sources: 1 face/s")
    assert "old" not in written


def test_a_form_of_the_network_that_fails_costs_its_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def form(device: object, form: str, *_: object) -> object:
        if form == "torch.compile":
            raise RuntimeError("no compiler")
        return lambda: None

    monkeypatch.setattr(gpu, "_form", form)
    monkeypatch.setattr(gpu, "_seconds", lambda work: 0.5)
    rows = list(gpu._forms(HostDevice(), None, {"cuda": None}, [(3, 8, 8)], ["image"], 1.0, {"matrix": 1.0}, 0.0))  # type: ignore[arg-type]
    assert any(row.startswith("| PyTorch eager | 2 (") for row in rows)
    assert any(row.startswith("| torch.compile |  | failed: RuntimeError") for row in rows)
