"""Who is who from frame to frame: ids by overlap and motion. Knows boxes and time, no pictures and no models."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtau.boxes import bounds, overlap
from rtau.structures import Float32

_MIN_OVERLAP = 0.2  # of a new box with where a lost face should be by now
_MAX_STEP = 1.0  # or: its centre lies within this many box sizes of there
_SAME_FACE = 0.45  # two tracks that overlap more look at one face
_SMOOTHING = 0.6  # weight of the newest step in the velocity


@dataclass(slots=True)
class Track:
    """One face over time. `velocity` is in pixels a second."""

    track_id: int
    landmarks: Float32  # (478, 3) in the last frame where it was seen
    pose: Float32  # (3,)
    score: float
    time_s: float  # when it was last seen
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    @property
    def box(self) -> Float32:
        """(4,) bounding box of the landmarks."""
        return bounds(self.landmarks)

    def box_at(self, time_s: float) -> Float32:
        """(4,) where the box should be at a time if the face goes on as it went."""
        shift = self.velocity * (time_s - self.time_s)
        return np.asarray(self.box + np.tile(shift, 2), dtype=np.float32)

    def seen(self, landmarks: Float32, pose: Float32, score: float, time_s: float) -> None:
        """Take over what was found in the frame of `time_s`."""
        elapsed = time_s - self.time_s
        if elapsed > 0:
            step = (landmarks[:, :2].mean(axis=0) - self.landmarks[:, :2].mean(axis=0)) / elapsed
            self.velocity = _SMOOTHING * step + (1 - _SMOOTHING) * self.velocity
        self.landmarks, self.pose, self.score, self.time_s = landmarks, pose, score, time_s


class Tracker:
    """The faces in view, and those lost a moment ago."""

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._next_id = 1
        self.active: list[Track] = []
        self._lost: list[Track] = []

    def lose(self, track: Track) -> None:
        """The face is out of view; its id is kept for `memory_s`."""
        self.active.remove(track)
        self._lost.append(track)

    def forget(self, time_s: float) -> None:
        """Drop what has been out of view for too long."""
        self._lost = [track for track in self._lost if time_s - track.time_s <= self._memory_s]

    def resolve_duplicates(self, predicted: dict[int, Float32]) -> None:
        """Where two tracks came to look at one face, the one that jumped there is lost.

        `predicted` holds by track id the box (4,) where each track should be. This is what happens when one face
        passes in front of another.
        """
        for track in list(self.active):
            for other in list(self.active):
                if track.track_id >= other.track_id or track not in self.active or other not in self.active:
                    continue
                if overlap(track.box, other.box[None])[0] > _SAME_FACE:
                    self.lose(min(track, other, key=lambda t: _nearness(t.box, predicted.get(t.track_id, t.box))))

    def admit(self, landmarks: Float32, pose: Float32, score: float, time_s: float) -> Track:
        """A face found by the detector: a lost one that came back, or a new one."""
        box = bounds(landmarks)
        nearest = max(self._lost, key=lambda t: _nearness(box, t.box_at(time_s)), default=None)
        if nearest is not None and _belongs(box, nearest.box_at(time_s)):
            self._lost.remove(nearest)
            nearest.seen(landmarks, pose, score, time_s)
            self.active.append(nearest)
            self.active.sort(key=lambda t: t.track_id)
            return nearest
        track = Track(self._next_id, landmarks, pose, score, time_s)
        self._next_id += 1
        self.active.append(track)
        return track


def _distance(box: Float32, other: Float32) -> float:
    """Between the centres, in sizes of the larger box."""
    centres = (box[:2] + box[2:] - other[:2] - other[2:]) / 2
    return float(np.hypot(*centres) / max((box[2:] - box[:2]).max(), (other[2:] - other[:2]).max(), 1e-9))


def _nearness(box: Float32, predicted: Float32) -> float:
    """Greater is nearer: overlap, and distance where there is none."""
    return float(overlap(box, predicted[None])[0]) - _distance(box, predicted)


def _belongs(box: Float32, predicted: Float32) -> bool:
    size, expected = (box[2:] - box[:2]).max(), (predicted[2:] - predicted[:2]).max()
    similar = 0.5 < size / max(expected, 1e-9) < 2.0
    near = overlap(box, predicted[None])[0] >= _MIN_OVERLAP or _distance(box, predicted) <= _MAX_STEP
    return bool(similar and near)
