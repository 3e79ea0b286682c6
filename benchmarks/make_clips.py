"""Clips to measure with, made from the public-domain astronaut photograph: one moving face, and five."""

import math
from pathlib import Path

import cv2
import numpy as np

from tools.make_demo_clip import FPS, SIZE, Image, astronaut, moving_face, write_clip

FACE_BOX = (150, 20, 300, 215)  # x0, y0, x1, y1 of the head in the photograph
SECONDS = 20


def one_face(folder: Path) -> Path:
    """1280x720, 30 frames/s, one large face; made once."""
    path = folder / "one_face_720p.mp4"
    if not path.exists():
        photo = astronaut()
        write_clip(path, (moving_face(photo, i / FPS) for i in range(SECONDS * FPS)))
    return path


def five_faces(folder: Path) -> Path:
    """1280x720, 30 frames/s, five faces of different size that move on their own; made once."""
    path = folder / "five_faces_720p.mp4"
    if not path.exists():
        x0, y0, x1, y1 = FACE_BOX
        head = astronaut()[y0:y1, x0:x1]
        write_clip(path, (_crowd(head, i / FPS) for i in range(SECONDS * FPS)))
    return path


def _crowd(head: Image, time_s: float) -> Image:
    canvas = np.full((SIZE[1], SIZE[0], 3), 96, np.uint8)
    for k in range(5):
        beat = 2 * math.pi * time_s / (4 + k)
        height = 300 + 35 * math.sin(beat + k)
        turn = 12 * math.sin(beat / 2 + 2 * k)
        x = SIZE[0] * (0.5 + k) / 5 + 12 * math.sin(beat)
        y = SIZE[1] * (0.35 if k % 2 else 0.62) + 40 * math.cos(beat)
        transform = cv2.getRotationMatrix2D((head.shape[1] / 2, head.shape[0] / 2), turn, height / head.shape[0])
        transform[:, 2] += np.array([x, y]) - np.array(head.shape[1::-1]) / 2
        seen = cv2.warpAffine(head, transform, SIZE, flags=cv2.INTER_LINEAR)
        inside = cv2.warpAffine(np.full(head.shape[:2], 255, np.uint8), transform, SIZE) > 127
        canvas[inside] = seen[inside]
    return canvas
