"""Detect, follow and measure the faces of one source. It holds the tracks, so frames come in order.

What a frame needs of the networks it asks for step by step (`Faces.steps`), so that sources that share a device can be
looked at together (`together`).
"""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rtau.align import roi_from_box, roi_from_landmarks
from rtau.boxes import Box
from rtau.config import PipelineConfig
from rtau.crop import View
from rtau.detect import FaceDetector
from rtau.landmarks import FaceLandmarks, LandmarkedFaces
from rtau.structures import Frame, Picture, TrackedFaces, grey_picture
from rtau.track import Sighting, Track, Tracker

_COVERED = 0.5  # a detection that shares this much of the smaller box with a followed face is that face
_LEFT_REGION = 0.1  # landmarks that overlap the last ones less have slid off the face


class Look(NamedTuple):
    """Asks for the boxes (D, 4) of the faces in a picture."""

    picture: Picture


Steps = Generator[Look | View, Any, TrackedFaces]  # a View asks for its list of Sightings


class FaceNetworks:
    """What answers; one for all sources of a process."""

    def __init__(self, config: PipelineConfig) -> None:
        self._detect, self._landmarks = FaceDetector(config), FaceLandmarks(config)
        self.cards = (self._detect.card, self._landmarks.card)

    def warm_up(self) -> None:
        """Load the kernels and run the networks once, so that the first frame is as quick as the others."""
        picture, region = grey_picture(), roi_from_box(np.array([8.0, 8.0, 56.0, 56.0]))
        self._detect(picture)
        for count in self._landmarks.sizes:
            self._landmarks(picture, np.stack([region] * count))

    def answer(self, questions: Sequence[Look | View]) -> list[Any]:
        """The answers in the order of the questions; all landmarks in one batch."""
        views = [question for question in questions if isinstance(question, View)]
        measured = iter(self._landmarks.of_all(views) if views else [])
        return [
            self._detect(question.picture).boxes if isinstance(question, Look) else _sightings(next(measured))
            for question in questions
        ]


class Faces:
    """Frame in, tracked faces out. The detector runs when a face is missing or the last look is long ago."""

    def __init__(self, config: PipelineConfig, networks: FaceNetworks | None = None) -> None:
        self._config = config.faces
        self._networks = networks or FaceNetworks(config)
        self.cards = self._networks.cards
        self.restart()

    def warm_up(self) -> None:
        """See FaceNetworks.warm_up."""
        self._networks.warm_up()

    def restart(self) -> None:
        """Forget all tracks: another source begins."""
        self._tracker = Tracker(self._config.memory_s)
        self._last_look_s = self._last_s = -np.inf

    def __call__(self, frame: Frame) -> TrackedFaces:
        """The faces of a frame; none where it has no picture."""
        return together([self.steps(frame)], self._networks)[0]

    def steps(self, frame: Frame) -> Steps:
        """The same, as the questions that the networks have to answer one after another."""
        if frame.picture is None:
            return _as_arrays([])
        if frame.time_s < self._last_s - self._config.memory_s:  # the source's clock has begun anew
            self._tracker.forget()
            self._last_look_s = -np.inf
        self._last_s = frame.time_s
        before = len(self._tracker.active)
        yield from self._follow(frame.picture, frame.time_s)
        missing = len(self._tracker.active) < max(before, 1)
        room = len(self._tracker.active) < self._config.max_faces
        if room and (missing or frame.time_s - self._last_look_s >= self._config.detect_every_s):
            yield from self._look(frame.picture, frame.time_s)
        return _as_arrays(self._tracker.active)

    def _follow(self, picture: Picture, time_s: float) -> Generator[View, list[Sighting], None]:
        """Find every track again where it was; lose those that are not there."""
        tracks = list(self._tracker.active)
        found: dict[int, Sighting] = {}
        if tracks:
            regions = np.stack([roi_from_landmarks(track.last.landmarks) for track in tracks])
            for track, sighting in zip(tracks, (yield View(picture, regions)), strict=True):
                on_it = sighting.box.overlap(track.last.box) >= _LEFT_REGION
                if sighting.score >= self._config.min_presence and on_it:
                    found[track.track_id] = sighting
        self._tracker.advance(found, time_s)

    def _look(self, picture: Picture, time_s: float) -> Generator[Look | View, Any, None]:
        """Run the detector and admit the faces that are not followed yet."""
        self._last_look_s = time_s
        room = self._config.max_faces - len(self._tracker.active)
        boxes = [box for box in (yield Look(picture)) if self._is_new(Box(*box.tolist()))][:room]
        if not boxes:
            return
        rough = yield View(picture, np.stack([roi_from_box(box) for box in boxes]))
        exact = yield View(picture, np.stack([roi_from_landmarks(face.landmarks) for face in rough]))
        for face in sorted(exact, key=lambda face: -face.score):
            if face.score >= self._config.new_presence and self._is_new(face.box):
                self._tracker.admit(face, time_s)

    def _is_new(self, box: Box) -> bool:
        return all(box.covered(track.last.box) < _COVERED for track in self._tracker.active)


def together(runs: Sequence[Steps], networks: FaceNetworks) -> list[TrackedFaces]:
    """The faces of one frame of each of some sources: what all of them ask at a time is answered at once."""
    found: dict[int, TrackedFaces] = {}
    answers: dict[int, Any] = dict.fromkeys(range(len(runs)))
    while answers:
        questions: dict[int, Look | View] = {}
        for i, answer in answers.items():
            try:
                questions[i] = runs[i].send(answer)
            except StopIteration as end:
                found[i] = end.value
        answers = dict(zip(questions, networks.answer(list(questions.values())), strict=True))
    return [found[i] for i in range(len(runs))]


def _sightings(found: LandmarkedFaces) -> list[Sighting]:
    return [
        Sighting(landmarks, pose, score, Box.around(landmarks))
        for landmarks, pose, score in zip(found.landmarks, found.pose, found.presence.tolist(), strict=True)
    ]


def _as_arrays(tracks: list[Track]) -> TrackedFaces:
    return TrackedFaces(
        track_ids=np.array([track.track_id for track in tracks], dtype=np.int64),
        score=np.array([track.last.score for track in tracks], dtype=np.float32),
        landmarks=np.array([track.last.landmarks for track in tracks], dtype=np.float32).reshape(-1, 478, 3),
        pose=np.array([track.last.pose for track in tracks], dtype=np.float32).reshape(-1, 3),
    )
