"""From looks at faces to persons: evidence of each track, and who can be whom at one moment.

unknown -> candidate: somebody of the gallery is near enough. candidate -> person: some looks agree, and nobody else is
as near. A person is given up only when the face has become clearly unlike; two tracks never are one person.
"""

from collections.abc import Hashable
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.gallery import Index
from calibration.profile import Profile

Float32 = NDArray[np.float32]
Key = TypeVar("Key", bound=Hashable)
State = Literal["unknown", "candidate", "person"]

LOOKS = 3  # that have to agree
MARGIN = 0.05  # by which a person must be nearer than the next one, and than another track that has the name
AT_ONCE = 0.1  # so much above the threshold one look is enough
LEAVE = 0.12  # so far below the threshold a name is given up
_FADE = 0.9  # what earlier looks still count at each new one
EVERY_S = 0.3  # between looks at a face that is not known yet
_SELDOM_S = 2.0  # the same, after this many looks in vain:
_IN_VAIN = 12
KNOWN_S = 5.0  # between looks at a person


class Likeness(NamedTuple):
    """What a track's looks say."""

    person: int  # nearest, index in Index.persons
    cosine: float
    next: float  # cosine of the second nearest; -1 where there is none


class _Track:
    def __init__(self) -> None:
        self.total: Float32 | None = None  # (D,) weighted sum of embeddings
        self.looks, self.last_s = 0, -np.inf
        self.uid: str | None = None  # of the person it is
        self.likeness: Likeness | None = None


class Recogniser(Generic[Key]):
    """The tracks that are in view, of all sources that one gallery serves."""

    def __init__(self, index: Index, accept: float) -> None:
        self._index, self._accept = index, accept
        self._tracks: dict[Key, _Track] = {}
        self._holder: dict[str, Key] = {}  # person's uid: the track that has the name
        self._persons = {person.uid: person for person in index.persons}

    def wants(self, key: Key, time_s: float) -> bool:
        """Whether another look at this track is worth its cost. Times are of the track's own source."""
        track = self._tracks.get(key)
        if track is None:
            return bool(self._index.persons)
        pause_s = KNOWN_S if track.uid is not None else _SELDOM_S if track.looks >= _IN_VAIN else EVERY_S
        return bool(self._index.persons) and not 0 <= time_s - track.last_s < pause_s

    def look(self, key: Key, time_s: float, embedding: Float32, weight: float) -> None:
        """Add an embedding (D,) of unit length of a view with a weight in (0, 1]."""
        track = self._tracks.setdefault(key, _Track())
        track.total = weight * embedding if track.total is None else _FADE * track.total + weight * embedding
        track.looks, track.last_s = track.looks + 1, time_s
        self._judge(key, track)

    def person(self, key: Key) -> Profile | None:
        """Who this is, if that is decided."""
        track = self._tracks.get(key)
        return None if track is None or track.uid is None else self._persons[track.uid]

    def state(self, key: Key) -> State:
        """How far the decision is."""
        track = self._tracks.get(key)
        if track is None or track.likeness is None:
            return "unknown"
        near = track.likeness.cosine >= self._accept
        return "person" if track.uid is not None else "candidate" if near else "unknown"

    def likeness(self, key: Key) -> Likeness | None:
        """Of the track's looks so far."""
        track = self._tracks.get(key)
        return None if track is None else track.likeness

    def gone(self, key: Key) -> None:
        """The track has ended; its name is free."""
        track = self._tracks.pop(key, None)
        if track is not None and track.uid is not None:
            del self._holder[track.uid]

    def replace(self, index: Index) -> None:
        """Another state of the gallery: who is no longer in it loses the name at once."""
        self._index = index
        self._persons = {person.uid: person for person in index.persons}
        for key, track in self._tracks.items():
            if track.uid is not None and track.uid not in self._persons:
                self._release(track)
            self._judge(key, track)

    def _judge(self, key: Key, track: _Track) -> None:
        if track.total is None or not self._index.persons:
            track.likeness = None
            return
        mean = track.total / max(float(np.linalg.norm(track.total)), 1e-9)
        cosines = self._index.cosines(mean)
        if track.uid is not None:
            own = float(cosines[next(i for i, p in enumerate(self._index.persons) if p.uid == track.uid)])
            if own < self._accept - LEAVE:
                self._release(track)
        track.likeness = likeness = _nearest(cosines)
        uid = self._index.persons[likeness.person].uid
        if uid != track.uid and self._convinces(track, likeness) and self._may_take(uid, likeness.cosine):
            self._release(track)
            if uid in self._holder:
                self._release(self._tracks[self._holder[uid]])
            track.uid = uid
            self._holder[uid] = key

    def _convinces(self, track: _Track, likeness: Likeness) -> bool:
        agreed = likeness.cosine >= self._accept + (AT_ONCE if track.looks < LOOKS else 0)
        return agreed and likeness.cosine - likeness.next >= MARGIN

    def _may_take(self, uid: str, cosine: float) -> bool:
        """Nobody has the name, or somebody who is clearly less like the person."""
        if uid not in self._holder:
            return True
        other = self._tracks[self._holder[uid]].likeness
        return other is None or cosine - other.cosine >= MARGIN

    def _release(self, track: _Track) -> None:
        if track.uid is not None:
            del self._holder[track.uid]
            track.uid = None


def _nearest(cosines: Float32) -> Likeness:
    best = int(cosines.argmax())
    others = max(cosines[:best].max(initial=-1.0), cosines[best + 1 :].max(initial=-1.0))
    return Likeness(best, float(cosines[best]), float(others))
