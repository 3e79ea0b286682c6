"""Stages of the pipeline with a defect."""

from rtau.config import PipelineConfig
from rtau.errors import LostDeviceError
from rtau.pipeline import FacesAUStage, FacesStage
from rtau.runtime.shared import BatchStage, Work
from rtau.runtime.worker import Stage


class RaisingOnce:
    """Builds the stage `faces`, for which the eleventh frame of every opening is too much."""

    def __call__(self) -> Stage:
        faces, count = FacesStage(PipelineConfig()), 0

        def stage(payload: bytes, slot: memoryview | None) -> bytes:
            nonlocal count
            count += 1
            if count == 11:
                raise ZeroDivisionError("frame 10")
            return faces(payload, slot)

        return stage


class LosingItsDevice(FacesAUStage):
    """The stage `faces_au`, whose device fails at its thirtieth batch; the networks run on the CPU."""

    def __init__(self) -> None:
        super().__init__(PipelineConfig())
        self._count = 0

    def __call__(self, works: list[Work]) -> list[bytes]:
        self._count += 1
        if self._count == 30:
            raise LostDeviceError("NVIDIA H100 (cuda:0) failed; use --device cpu")
        assert self._count < 30
        return super().__call__(works)


def losing_its_device() -> BatchStage:
    return LosingItsDevice()
