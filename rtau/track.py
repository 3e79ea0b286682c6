"""Who is who from frame to frame: ids by overlap and motion. Knows boxes and time, no pictures and no models."""

import itertools
import math
from typing import NamedTuple

from rtau.boxes import Box
from rtau.structures import Float32

_MIN_OVERLAP = 0.2  # of a new box with where a lost face should be by now
_MAX_STEP = 1.0  # or: its centre lies within this many box sizes of there
_MAX_GROWTH = 2.0  # between losing a face and finding it again
_SAME_FACE = 0.45  # two tracks that overlap more look at one face
_SMOOTHING = 0.3  # weight of the newest step in the velocity
_WHOLE = 0.93  # a box that suddenly has less than this share of its area is partly hidden
_REMEMBER_WHOLE_S = 1.0  # seconds after which a smaller box is taken for what it is


class Sighting(NamedTuple):
    """What was measured of one face in one frame."""

    landmarks: Float32  # (478, 3)
    pose: Float32  # (3,)
    score: float
    box: Box  # around the landmarks


class Track:
    """One face over time.

    Its motion is read from whole faces only: while something slides in front, the box shrinks and seems to stop.
    """

    def __init__(self, track_id: int, sighting: Sighting, time_s: float) -> None:
        self.track_id = track_id
        self.last = sighting
        self.time_s = time_s  # when it was last seen
        self._whole, self._whole_time_s = sighting.box, time_s  # when it was last seen whole
        self._velocity = (0.0, 0.0)  # pixels a second

    def box_at(self, time_s: float) -> Box:
        """Where the whole face should be at a time if it goes on as it went."""
        elapsed = time_s - self._whole_time_s
        return self._whole.moved(self._velocity[0] * elapsed, self._velocity[1] * elapsed)

    def seen(self, sighting: Sighting, time_s: float) -> None:
        """Take over what was found in the frame of `time_s`."""
        self.last, self.time_s = sighting, time_s
        box, elapsed = sighting.box, time_s - self._whole_time_s
        if box.area < _WHOLE * self._whole.area:
            if elapsed < _REMEMBER_WHOLE_S:
                return
            self._velocity = (0.0, 0.0)  # it has become smaller for good
        elif elapsed > 0:
            (x, y), (x_then, y_then), (vx, vy) = box.centre, self._whole.centre, self._velocity
            vx += _SMOOTHING * ((x - x_then) / elapsed - vx)
            vy += _SMOOTHING * ((y - y_then) / elapsed - vy)
            self._velocity = (vx, vy)
        self._whole, self._whole_time_s = box, time_s


class Tracker:
    """The faces in view, and those lost a moment ago."""

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._next_id = 1
        self.active: list[Track] = []
        self._lost: list[Track] = []

    def forget(self) -> None:
        """Lose all faces for good; their ids do not come back."""
        self.active, self._lost = [], []

    def advance(self, found: dict[int, Sighting], time_s: float) -> None:
        """One frame on: what was found where each active track was looked for; a track that is not in `found` is lost.

        Where two tracks come to look at one face, as when one person passes in front of another, the one that had to
        jump there is lost too, and is remembered as it was before the jump.
        """
        seen = dict(found)
        tracks = {track.track_id: track for track in self.active}
        for one, other in itertools.combinations(found, 2):
            if one in seen and other in seen and found[one].box.overlap(found[other].box) > _SAME_FACE:
                del seen[min(one, other, key=lambda i: _nearness(found[i].box, tracks[i].box_at(time_s)))]
        for track in tracks.values():
            if track.track_id in seen:
                track.seen(seen[track.track_id], time_s)
            else:
                self.active.remove(track)
                self._lost.append(track)
        self._lost = [track for track in self._lost if time_s - track.time_s <= self._memory_s]

    def admit(self, sighting: Sighting, time_s: float) -> Track:
        """A face found by the detector: a lost one that came back, or a new one."""
        nearest = max(self._lost, key=lambda t: _nearness(sighting.box, t.box_at(time_s)), default=None)
        if nearest is not None and _belongs(sighting.box, nearest.box_at(time_s)):
            self._lost.remove(nearest)
            nearest.seen(sighting, time_s)
            self.active.append(nearest)
            self.active.sort(key=lambda t: t.track_id)
            return nearest
        track = Track(self._next_id, sighting, time_s)
        self._next_id += 1
        self.active.append(track)
        return track


def _distance(box: Box, other: Box) -> float:
    """Between the centres, in sizes of the larger box."""
    return math.dist(box.centre, other.centre) / max(box.size, other.size, 1e-9)


def _nearness(box: Box, predicted: Box) -> float:
    """Greater is nearer: overlap, and distance where there is none."""
    return box.overlap(predicted) - _distance(box, predicted)


def _belongs(box: Box, predicted: Box) -> bool:
    growth = box.size / max(predicted.size, 1e-9)
    near = box.overlap(predicted) >= _MIN_OVERLAP or _distance(box, predicted) <= _MAX_STEP
    return near and 1 / _MAX_GROWTH < growth < _MAX_GROWTH
