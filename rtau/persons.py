"""Who the faces are, and their AUs relative to their own resting faces. It serves all sources with one gallery.

Nothing here knows the wall clock: looks at faces follow the times of their sources, so that a run can be repeated.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from calibration.baseline import Baseline, Level, calibrated
from calibration.baseline import State as BaselineState
from calibration.gallery import Gallery, Index
from calibration.profile import Profile
from calibration.quality import identity_weight, reliable, sharpness_weight, steady
from calibration.recognise import Recogniser
from rtau.align import inter_ocular
from rtau.config import PipelineConfig
from rtau.gallery import gallery_errors, open_gallery
from rtau.identify import Identities, load_identity
from rtau.models import Card
from rtau.structures import AUEstimates, Float32, Personal, Picture, TrackedFaces

MIN_WEIGHT = 0.05  # views that say less of who it is are not embedded
_SLOPE, _SLOPES = 2.0, (0.5, 8.0)  # of the occurrence's log odds over intensity, where the estimate does not tell


class Seen(NamedTuple):
    """One frame of one source, and what was estimated in it."""

    source: str
    time_s: float
    picture: Picture | None
    faces: TrackedFaces
    aus: AUEstimates


_Key = tuple[str, int]  # source, track


class Persons:
    """Frames in, persons out; the frames of a source in order."""

    def __init__(self, config: PipelineConfig, card: Card) -> None:
        self._config, self._memory_s = config.persons, config.faces.memory_s
        self._card = card  # of the AU encoder
        self._gallery: Gallery | None = None
        self._identities: Identities | None = None
        persons: list[Profile] = []
        if self._config.gallery is not None:
            model = load_identity(self._config.identity)
            self._gallery = open_run_gallery(config)
            self._identities = Identities(model, config)
            accept = model.accept if self._config.accept is None else self._config.accept
            with gallery_errors():
                persons = self._gallery.persons()
        else:
            accept = 1.0
        self._who: Recogniser[_Key] = Recogniser(Index(persons), accept)
        self._last_s: dict[_Key, float] = {}
        self._own: dict[_Key, Baseline] = {}  # of tracks
        self._of_person: dict[str, Baseline] = {}  # by uid: of persons without a baseline in the gallery, for this run

    def warm_up(self) -> None:
        """Run the identity network once, where there is one."""
        if self._identities is not None:
            side = self._identities.card.input_size
            self._identities(np.zeros((3, side, side), np.float32))

    def open(self, source: str) -> None:
        """A source begins, or begins again: its tracks are new."""
        self.close(source)

    def close(self, source: str) -> None:
        """A source has ended."""
        for key in [key for key in self._last_s if key[0] == source]:
            self._forget(key)

    def __call__(self, seen: Sequence[Seen]) -> list[Personal]:
        """Of each frame, its faces in the order of `faces`."""
        if self._gallery is not None and self._gallery.changed():
            with gallery_errors():
                persons = self._gallery.persons()
            self._who.replace(Index(persons))
            known = {person.uid for person in persons}
            self._of_person = {uid: kept for uid, kept in self._of_person.items() if uid in known}
        made = []
        for frame in seen:
            self._follow(frame)
            made.append(self._judge(frame))
        return made

    def _follow(self, frame: Seen) -> None:
        """Look at the faces that are worth it."""
        for key in [key for key in self._last_s if key[0] == frame.source]:
            if abs(frame.time_s - self._last_s[key]) > self._memory_s:  # or the source's clock has begun anew
                self._forget(key)
        faces = frame.faces
        distances = inter_ocular(faces.landmarks)
        rests = reliable(distances, faces.pose, faces.score) & steady(faces.pose)
        for i, track in enumerate(faces.track_ids.tolist()):
            key = (frame.source, track)
            self._last_s[key] = frame.time_s
            if self._identities is not None and frame.picture is not None and self._who.wants(key, frame.time_s):
                weight = identity_weight(float(distances[i]), faces.pose[i], float(faces.score[i]))
                if weight >= MIN_WEIGHT:
                    aligned = self._identities.crop(frame.picture, faces.landmarks[i])
                    weight *= sharpness_weight(aligned)
                    self._who.look(key, frame.time_s, self._identities(aligned), weight)
            if rests[i] and self._config.baseline == "online":
                self._baseline(key).see(frame.time_s, _sides(frame.aus, i))

    def _judge(self, frame: Seen) -> Personal:
        count, aus = len(frame.faces.track_ids), len(self._card.aus)
        sides = np.stack([frame.aus.left, frame.aus.right], axis=1).reshape(count, 2, aus)
        made = Personal([], [], [], sides.copy(), frame.aus.occurrence.copy())
        for i, track in enumerate(frame.faces.track_ids.tolist()):
            person = self._who.person((frame.source, track))
            state, confidence, rest = self._rest((frame.source, track), person)
            made.person_ids.append(None if person is None else person.name)
            made.states.append(state)
            made.confidence.append(confidence)
            if rest is not None:
                made.calibrated[i] = calibrated(sides[i], rest)
                made.occurrence[i] = occurrence_at(frame.aus.occurrence[i], sides[i], made.calibrated[i])
        return made

    def _rest(self, key: _Key, person: Profile | None) -> tuple[BaselineState, float, Float32 | None]:
        """State and confidence of the baseline, and the resting levels (2, A) where it is to be used."""
        if self._config.baseline != "online":  # `two_pass` is applied when the whole clip has been seen
            return "none", 0.0, None
        kept = None if person is None else kept_neutral(person, self._card)
        if kept is not None:
            return "fixed", kept.confidence, kept.rest
        baseline = self._baseline(key)
        if baseline.level is None:
            return "none", 0.0, None
        return baseline.state, baseline.level.confidence, baseline.level.rest if baseline.state == "ready" else None

    def _baseline(self, key: _Key) -> Baseline:
        """The person's, as soon as it is known who it is; a track's own becomes the person's first one."""
        person = self._who.person(key)
        own = self._own.get(key)
        if own is None:
            own = self._own[key] = Baseline(len(self._card.aus))
        if person is not None:
            return self._of_person.setdefault(person.uid, own)
        self._of_person = {uid: kept for uid, kept in self._of_person.items() if kept is not own}  # it was not that one
        return own

    def _forget(self, key: _Key) -> None:
        self._who.gone(key)
        self._own.pop(key, None)
        del self._last_s[key]


def open_run_gallery(config: PipelineConfig) -> Gallery:
    """The gallery that a run names. Raises GalleryError or ModelError."""
    assert config.persons.gallery is not None
    model = load_identity(config.persons.identity)
    key = None if config.persons.key is None else Path(config.persons.key)
    return open_gallery(Path(config.persons.gallery), key, model.artifact.card.sha256)


def kept_neutral(person: Profile, card: Card) -> Level | None:
    """The neutral face in the gallery, where it is in the scale of this AU encoder."""
    kept = person.neutral
    if kept is None or (kept.au_model, kept.aus) != (card.sha256, card.aus):
        return None
    rest, spread = kept.levels()
    return Level(rest, spread, kept.evidence)


def occurrence_at(occurrence: Float32, sides: Float32, moved: Float32) -> Float32:
    """The probabilities (A,) that belong to intensities (2, A) which were moved: 0.5 where the stronger side is 1.

    The model's own slope of the log odds over the intensity is kept.
    """
    p = occurrence.clip(1e-6, 1 - 1e-6).astype(np.float64)
    away = sides.max(axis=0).astype(np.float64) - 1
    told = np.abs(away) > 0.05
    slope = np.where(told, np.log(p / (1 - p)) / np.where(told, away, 1.0), _SLOPE).clip(*_SLOPES)
    return np.asarray(1 / (1 + np.exp(-slope * (moved.max(axis=0) - 1))), dtype=np.float32)


def _sides(aus: AUEstimates, i: int) -> Float32:
    return np.stack([aus.left[i], aus.right[i]])
