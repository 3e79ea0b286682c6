"""Which engine runs: nothing is chosen in silence, and what is missing is named with its cure."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from rtau.engines import choose, probe
from rtau.errors import DeviceError

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    def has(*gpus: str, cuda: str = "", tensorrt: str = "") -> None:
        monkeypatch.setattr(probe, "gpus", lambda: gpus)
        monkeypatch.setattr(probe, "missing_for_cuda", lambda: cuda)
        monkeypatch.setattr(probe, "missing_for_tensorrt", lambda: tensorrt)
        choose.cache_clear()

    yield has
    choose.cache_clear()


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_gpu_it_is_the_cpu(machine: Machine, device: str) -> None:
    machine()
    assert choose(device) == ("openvino", 0, "openvino-cpu")


def test_tensorrt_is_taken_before_cuda_and_the_label_says_where(machine: Machine) -> None:
    machine("NVIDIA H100", "NVIDIA T4")
    assert choose("auto") == ("tensorrt", 0, "tensorrt-fp16 on NVIDIA H100 (cuda:0)")
    assert choose("cuda:1") == ("tensorrt", 1, "tensorrt-fp16 on NVIDIA T4 (cuda:1)")
    assert choose("cpu").engine == "openvino"


def test_cuda_runs_without_tensorrt_and_says_so(machine: Machine) -> None:
    machine("NVIDIA H100", tensorrt="the package tensorrt is missing; pip install 'rtau[tensorrt]'")
    for device in ("auto", "cuda", "cuda:0"):
        choice = choose(device)
        assert choice.engine == "cuda"
        assert "cuda-fp16 on NVIDIA H100 (cuda:0)" in choice.label
        assert "pip install 'rtau[tensorrt]'" in choice.label


def test_a_gpu_that_cannot_be_used_is_an_error_when_asked_for_and_told_otherwise(machine: Machine) -> None:
    machine("NVIDIA H100", cuda="the package pycuda is missing; pip install 'rtau[cuda]'")
    with pytest.raises(DeviceError, match=r"device cuda: NVIDIA H100 is here, but the package pycuda is missing; pip"):
        choose("cuda")
    choice = choose("auto")
    assert choice.engine == "openvino"
    assert "NVIDIA H100 is not used: the package pycuda is missing" in choice.label


@pytest.mark.parametrize(
    ("gpus", "device", "said"),
    [
        ((), "cuda", "device cuda: this machine has no NVIDIA GPU with its driver; use --device cpu"),
        ((), "cuda:0", "no NVIDIA GPU with its driver"),
        (("NVIDIA T4",), "cuda:1", "device cuda:1: this machine has cuda:0 NVIDIA T4; use --device cpu"),
    ],
)
def test_a_gpu_that_is_not_there_is_never_replaced(
    machine: Machine, gpus: tuple[str, ...], device: str, said: str
) -> None:
    machine(*gpus)
    with pytest.raises(DeviceError) as error:
        choose(device)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("present", "nvcc", "missing"),
    [
        ({"onnx", "pycuda"}, "/usr/bin/nvcc", "the package torch is missing; pip install 'rtau[cuda]'"),
        ({"torch", "onnx"}, "/usr/bin/nvcc", "the package pycuda is missing; pip install 'rtau[cuda]'"),
        ({"torch", "onnx", "pycuda"}, None, "nvcc"),
    ],
)
def test_missing_pieces_are_named(
    monkeypatch: pytest.MonkeyPatch, present: set[str], nvcc: str | None, missing: str
) -> None:
    monkeypatch.setattr(probe, "find_spec", lambda name: name if name in present else None)
    monkeypatch.setattr(probe.shutil, "which", lambda name: nvcc)
    assert missing in probe.missing_for_cuda()
    assert "install" in probe.missing_for_cuda()


def test_pytorch_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(probe, "find_spec", lambda name: name)
    monkeypatch.setattr(probe.shutil, "which", lambda name: "/usr/bin/nvcc")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert f"PyTorch {torch.__version__} cannot use it" in probe.missing_for_cuda()


def test_a_pycuda_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(probe, "find_spec", lambda name: name)
    monkeypatch.setattr(probe.shutil, "which", lambda name: "/usr/bin/nvcc")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("pycuda", "pycuda.driver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "pycuda").mkdir()
    driver = tmp_path / "pycuda" / "driver.py"
    driver.write_text("raise ImportError('libcuda.so.1: not found')")
    (tmp_path / "pycuda" / "__init__.py").touch()
    assert "PyCUDA cannot be loaded (libcuda.so.1: not found); build it beside" in probe.missing_for_cuda()
    monkeypatch.setitem(sys.modules, "pycuda.driver", ModuleType("pycuda.driver"))
    assert probe.missing_for_cuda() == probe.missing_for_tensorrt() == ""
