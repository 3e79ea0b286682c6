"""Stages of the pipeline with a defect."""

from rtau.config import PipelineConfig
from rtau.pipeline import FacesStage
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
