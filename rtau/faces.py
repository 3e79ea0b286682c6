"""Detect, follow and measure the faces of one source. It holds the tracks, so frames come in order."""

import numpy as np
from numpy.typing import NDArray

from rtau.align import roi_from_box, roi_from_landmarks
from rtau.boxes import Box
from rtau.config import PipelineConfig
from rtau.detect import FaceDetector
from rtau.landmarks import FaceLandmarks
from rtau.structures import Frame, Picture, TrackedFaces, grey_picture
from rtau.track import Sighting, Track, Tracker

_COVERED = 0.5  # a detection that shares this much of the smaller box with a followed face is that face
_LEFT_REGION = 0.1  # landmarks that overlap the last ones less have slid off the face


class Faces:
    """Frame in, tracked faces out. The detector runs when a face is missing or the last look is long ago."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config.faces
        self._detect = FaceDetector(config)
        self._landmarks = FaceLandmarks(config)
        self.cards = (self._detect.card, self._landmarks.card)
        self.restart()

    def warm_up(self) -> None:
        """Load the kernels and run the networks once, so that the first frame is as quick as the others."""
        picture = grey_picture()
        self._detect(picture)
        self._landmarks(picture, roi_from_box(np.array([8.0, 8.0, 56.0, 56.0]))[None])

    def restart(self) -> None:
        """Forget all tracks: another source begins."""
        self._tracker = Tracker(self._config.memory_s)
        self._last_look_s = -np.inf

    def __call__(self, frame: Frame) -> TrackedFaces:
        """The faces of a frame; none where it has no picture."""
        if frame.picture is None:
            return _as_arrays([])
        before = len(self._tracker.active)
        self._follow(frame.picture, frame.time_s)
        missing = len(self._tracker.active) < max(before, 1)
        room = len(self._tracker.active) < self._config.max_faces
        if room and (missing or frame.time_s - self._last_look_s >= self._config.detect_every_s):
            self._look(frame.picture, frame.time_s)
        return _as_arrays(self._tracker.active)

    def _follow(self, picture: Picture, time_s: float) -> None:
        """Find every track again where it was; lose those that are not there."""
        tracks = list(self._tracker.active)
        found: dict[int, Sighting] = {}
        if tracks:
            regions = np.stack([roi_from_landmarks(track.last.landmarks) for track in tracks])
            for track, sighting in zip(tracks, self._measure(picture, regions), strict=True):
                on_it = sighting.box.overlap(track.last.box) >= _LEFT_REGION
                if sighting.score >= self._config.min_presence and on_it:
                    found[track.track_id] = sighting
        self._tracker.advance(found, time_s)

    def _look(self, picture: Picture, time_s: float) -> None:
        """Run the detector and admit the faces that are not followed yet."""
        self._last_look_s = time_s
        room = self._config.max_faces - len(self._tracker.active)
        boxes = [box for box in self._detect(picture).boxes if self._is_new(Box(*box.tolist()))][:room]
        if not boxes:
            return
        rough = self._measure(picture, np.stack([roi_from_box(box) for box in boxes]))
        exact = self._measure(picture, np.stack([roi_from_landmarks(face.landmarks) for face in rough]))
        for face in sorted(exact, key=lambda face: -face.score):
            if face.score >= self._config.new_presence and self._is_new(face.box):
                self._tracker.admit(face, time_s)

    def _measure(self, picture: Picture, regions: NDArray[np.float64]) -> list[Sighting]:
        found = self._landmarks(picture, regions)
        return [
            Sighting(landmarks, pose, score, Box.around(landmarks))
            for landmarks, pose, score in zip(found.landmarks, found.pose, found.presence.tolist(), strict=True)
        ]

    def _is_new(self, box: Box) -> bool:
        return all(box.covered(track.last.box) < _COVERED for track in self._tracker.active)


def _as_arrays(tracks: list[Track]) -> TrackedFaces:
    return TrackedFaces(
        track_ids=np.array([track.track_id for track in tracks], dtype=np.int64),
        score=np.array([track.last.score for track in tracks], dtype=np.float32),
        landmarks=np.array([track.last.landmarks for track in tracks], dtype=np.float32).reshape(-1, 478, 3),
        pose=np.array([track.last.pose for track in tracks], dtype=np.float32).reshape(-1, 3),
    )
