"""The teacher on the pictures of rendered shards: MediaPipe FaceLandmarker, IMAGE mode, default thresholds.

Runs in its own virtual environment, which needs nothing of this project:
    python3 -m venv .venv-mediapipe && .venv-mediapipe/bin/pip install mediapipe opencv-python-headless
    .venv-mediapipe/bin/python benchmarks/mediapipe_images.py BUNDLE OUT.npz SHARD.tar...
"""

import sys
import tarfile

import cv2
import mediapipe as mp
import numpy as np


def main(bundle: str, out: str, shards: list[str]) -> None:
    """Landmarks (F, 478, 2) in pixels, NaN where no face was found, and blendshapes (F, 52), in the shards' order."""
    options = mp.tasks.vision.FaceLandmarkerOptions(
        base_options=mp.tasks.BaseOptions(model_asset_path=bundle), output_face_blendshapes=True
    )
    landmarks, shapes = [], []
    with mp.tasks.vision.FaceLandmarker.create_from_options(options) as landmarker:
        for shard in shards:
            with tarfile.open(shard) as archive:
                for member in archive:
                    if not member.name.endswith(".jpg"):
                        continue
                    data = np.frombuffer(archive.extractfile(member).read(), np.uint8)
                    rgb = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
                    found = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb))
                    points, scores = np.full((478, 2), np.nan), np.full(52, np.nan)
                    if found.face_landmarks:
                        points = np.array([(p.x, p.y) for p in found.face_landmarks[0]]) * rgb.shape[1::-1]
                        scores = np.array([s.score for s in found.face_blendshapes[0]])
                    landmarks.append(points)
                    shapes.append(scores)
    np.savez(out, landmarks=np.array(landmarks, np.float32), blendshapes=np.array(shapes, np.float32))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
