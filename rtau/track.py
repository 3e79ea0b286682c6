"""Who is who from frame to frame: ids by overlap and motion. Knows boxes and time, no pictures and no models."""

import itertools
from typing import NamedTuple

import numpy as np

from rtau.boxes import bounds, overlap
from rtau.structures import Float32

_MIN_OVERLAP = 0.2  # of a new box with where a lost face should be by now
_MAX_STEP = 1.0  # or: its centre lies within this many box sizes of there
_SAME_FACE = 0.45  # two tracks that overlap more look at one face
_SMOOTHING = 0.3  # weight of the newest step in the velocity
_WHOLE = 0.93  # a box that suddenly has less than this share of its area is partly hidden
_REMEMBER_WHOLE_S = 1.0  # seconds after which a smaller box is taken for what it is


class Sighting(NamedTuple):
    """What was measured of one face in one frame."""

    landmarks: Float32  # (478, 3)
    pose: Float32  # (3,)
    score: float


class Track:
    """One face over time.

    Its motion is read from whole faces only: while something slides in front, the box shrinks and seems to stop.
    """

    def __init__(self, track_id: int, sighting: Sighting, time_s: float) -> None:
        self.track_id = track_id
        self.last, self.box = sighting, bounds(sighting.landmarks)  # (4,)
        self.time_s = time_s  # when it was last seen
        self._whole, self._whole_time_s = self.box, time_s  # box when it was last seen whole
        self._velocity = np.zeros(2)  # pixels a second

    def box_at(self, time_s: float) -> Float32:
        """(4,) where the whole face should be at a time if it goes on as it went."""
        shift = self._velocity * (time_s - self._whole_time_s)
        return np.asarray(self._whole + np.tile(shift, 2), dtype=np.float32)

    def seen(self, sighting: Sighting, time_s: float) -> None:
        """Take over what was found in the frame of `time_s`."""
        self.last, self.box, self.time_s = sighting, bounds(sighting.landmarks), time_s
        box, elapsed = self.box, time_s - self._whole_time_s
        if (box[2:] - box[:2]).prod() < _WHOLE * (self._whole[2:] - self._whole[:2]).prod():
            if elapsed < _REMEMBER_WHOLE_S:
                return
            self._velocity = np.zeros(2)  # it has become smaller for good
        elif elapsed > 0:
            way = (box[:2] + box[2:] - self._whole[:2] - self._whole[2:]) / 2
            self._velocity = self._velocity + _SMOOTHING * (way / elapsed - self._velocity)
        self._whole, self._whole_time_s = box, time_s


class Tracker:
    """The faces in view, and those lost a moment ago."""

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._next_id = 1
        self.active: list[Track] = []
        self._lost: list[Track] = []

    def advance(self, found: dict[int, Sighting], time_s: float) -> None:
        """One frame on: what was found where each active track was looked for; a track that is not in `found` is lost.

        Where two tracks come to look at one face, as when one person passes in front of another, the one that had to
        jump there is lost too, and is remembered as it was before the jump.
        """
        seen = dict(found)
        boxes = {track_id: bounds(sighting.landmarks) for track_id, sighting in found.items()}
        tracks = {track.track_id: track for track in self.active}
        for one, other in itertools.combinations(found, 2):
            if one in seen and other in seen and overlap(boxes[one], boxes[other][None])[0] > _SAME_FACE:
                del seen[min(one, other, key=lambda i: _nearness(boxes[i], tracks[i].box_at(time_s)))]
        for track in tracks.values():
            if track.track_id in seen:
                track.seen(seen[track.track_id], time_s)
            else:
                self.active.remove(track)
                self._lost.append(track)
        self._lost = [track for track in self._lost if time_s - track.time_s <= self._memory_s]

    def admit(self, sighting: Sighting, time_s: float) -> Track:
        """A face found by the detector: a lost one that came back, or a new one."""
        box = bounds(sighting.landmarks)
        nearest = max(self._lost, key=lambda t: _nearness(box, t.box_at(time_s)), default=None)
        if nearest is not None and _belongs(box, nearest.box_at(time_s)):
            self._lost.remove(nearest)
            nearest.seen(sighting, time_s)
            self.active.append(nearest)
            self.active.sort(key=lambda t: t.track_id)
            return nearest
        track = Track(self._next_id, sighting, time_s)
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
