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

_CLOSE_EVERY_S = 4.0  # seconds of video between close looks, which cost four times as much
_CLOSE_PRESENCE = 0.995  # score of a small face worth a trial: 68 % of 240 pasted ones, none of 3 other things
_TRIAL_S = 0.4  # seconds of video that a small face has to last; a thing that was taken for one lasted two frames
_COVERED = 0.5  # a detection that shares this much of the smaller box with a followed face is that face
_LEFT_REGION = 0.1  # landmarks that overlap the last ones less have slid off the face


class Look(NamedTuple):
    """Asks for the boxes (D, 4) of the faces in a picture, or of the small ones."""

    picture: Picture
    close: bool = False


Steps = Generator[Look | View, Any, TrackedFaces]  # a View asks for its list of Sightings


class _Trial(NamedTuple):
    """A small face that is followed, but not yet believed."""

    last: Sighting
    since_s: float


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
            self._detect(question.picture, close=question.close).boxes
            if isinstance(question, Look)
            else _sightings(next(measured))
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
        self._last_s = -np.inf
        self._forget()

    def _forget(self) -> None:
        """Lose all faces and look anew; ids do not come back."""
        self._tracker.forget()
        self._trials = list[_Trial]()
        self._last_look_s = self._last_close_s = -np.inf

    def __call__(self, frame: Frame) -> TrackedFaces:
        """The faces of a frame; none where it has no picture."""
        return together([self.steps(frame)], self._networks)[0]

    def steps(self, frame: Frame) -> Steps:
        """The same, as the questions that the networks have to answer one after another."""
        if frame.picture is None:
            return _as_arrays([])
        if frame.time_s < self._last_s - self._config.memory_s:  # the source's clock has begun anew
            self._forget()
        self._last_s = frame.time_s
        before = len(self._tracker.active)
        yield from self._follow(frame.picture, frame.time_s)
        missing = len(self._tracker.active) < max(before, 1)
        if self._room > 0 and (missing or frame.time_s - self._last_look_s >= self._config.detect_every_s):
            self._last_look_s = frame.time_s
            for face in (yield from self._look(frame.picture)):
                self._tracker.admit(face, frame.time_s)
            if frame.time_s - self._last_close_s >= _CLOSE_EVERY_S:
                self._last_close_s = frame.time_s
                self._trials += [_Trial(face, frame.time_s) for face in (yield from self._look_closely(frame.picture))]
        return _as_arrays(self._tracker.active)

    @property
    def _room(self) -> int:
        return self._config.max_faces - len(self._tracker.active)

    def _follow(self, picture: Picture, time_s: float) -> Generator[View, list[Sighting], None]:
        """Find every face again where it was; lose those that are not there, admit those that have lasted."""
        tracks, trials = list(self._tracker.active), self._trials
        last = [track.last for track in tracks] + [trial.last for trial in trials]
        seen: list[Sighting] = []
        if last:
            seen = yield View(picture, np.stack([roi_from_landmarks(face.landmarks) for face in last]))
        there = [
            face if face.score >= self._config.min_presence and face.box.overlap(before.box) >= _LEFT_REGION else None
            for before, face in zip(last, seen, strict=True)
        ]
        found = {track.track_id: face for track, face in zip(tracks, there, strict=False) if face}
        self._tracker.advance(found, time_s)
        self._trials = []
        for trial, face in zip(trials, there[len(tracks) :], strict=True):
            if face and face.score >= self._config.new_presence and self._is_new(face.box):
                if time_s - trial.since_s >= _TRIAL_S and self._room > 0:
                    self._tracker.admit(face, time_s)
                else:
                    self._trials.append(_Trial(face, trial.since_s))

    def _look(self, picture: Picture, *, close: bool = False) -> Generator[Look | View, Any, list[Sighting]]:
        """Run the detector: faces that are not followed yet, best first."""
        boxes = [box for box in (yield Look(picture, close)) if self._is_new(Box(*box.tolist()))][: self._room]
        if not boxes:
            return []
        rough = yield View(picture, np.stack([roi_from_box(box) for box in boxes]))
        exact = yield View(picture, np.stack([roi_from_landmarks(face.landmarks) for face in rough]))
        new = list[Sighting]()
        for face in sorted(exact, key=lambda face: -face.score):
            if face.score >= self._config.new_presence and self._is_new(face.box, new):
                new.append(face)
        return new

    def _look_closely(self, picture: Picture) -> Generator[Look | View, Any, list[Sighting]]:
        """Run the detector for small faces: those that are worth a trial."""
        small = yield from self._look(picture, close=True)
        tried = [trial.last for trial in self._trials]
        return [face for face in small if face.score >= _CLOSE_PRESENCE and self._is_new(face.box, tried)]

    def _is_new(self, box: Box, others: Sequence[Sighting] = ()) -> bool:
        """Whether neither a face that is followed nor one of the others is here."""
        followed = [track.last for track in self._tracker.active]
        return all(box.covered(face.box) < _COVERED for face in (*followed, *others))


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
