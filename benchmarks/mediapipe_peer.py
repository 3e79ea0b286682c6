"""The peer: MediaPipe FaceLandmarker with blendshapes over one clip, decoded by PyAV. Prints one line of JSON.

Runs in its own virtual environment:
    python3 -m venv .venv-mediapipe && .venv-mediapipe/bin/pip install mediapipe av
"""

import json
import resource
import sys
import time

import av
import mediapipe as mp
import numpy as np


def main(clip: str, bundle: str, max_faces: int) -> None:
    """VIDEO mode, default thresholds, every frame."""
    begun = time.perf_counter()
    options = mp.tasks.vision.FaceLandmarkerOptions(
        base_options=mp.tasks.BaseOptions(model_asset_path=bundle),
        running_mode=mp.tasks.vision.RunningMode.VIDEO,
        num_faces=max_faces,
        output_face_blendshapes=True,
    )
    frames = faces = 0
    with mp.tasks.vision.FaceLandmarker.create_from_options(options) as landmarker, av.open(clip) as container:
        container.streams.video[0].thread_type = "AUTO"
        started = time.perf_counter()
        cpu = _cpu_s()
        for frame in container.decode(video=0):
            rgb = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)
            faces += len(landmarker.detect_for_video(image, round(frame.time * 1000)).face_blendshapes)
            frames += 1
        seconds = time.perf_counter() - started
    result = {
        "frames": frames,
        "faces": faces,
        "seconds": seconds,
        "start_up_s": started - begun,
        "cpu_s": _cpu_s() - cpu,
    }
    print(json.dumps(result))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
