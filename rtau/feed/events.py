"""What can be told from the frames of a source alone: faces that come and go, and who they are."""

import msgspec

from rtau.messages import AUFrame, Event


class TrackEvents:
    """`track_started`, `person_recognised` and `track_ended` of one source; frames come in order.

    A track has ended when it was not seen for longer than the tracker remembers it (`FacesConfig.memory_s`).
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._seen: dict[int, AUFrame] = {}  # track: the frame where it was seen last
        self._names: dict[int, str] = {}  # track: who it was said to be

    def __call__(self, frame: AUFrame) -> list[Event]:
        """What happened up to this frame."""
        gone = [track for track, last in self._seen.items() if self._forgotten(last, frame)]
        events = [self._ended(track, frame) for track in gone]
        for face in frame.faces:
            if face.track_id not in self._seen:
                events.append(_event("track_started", frame, frame.frame_index, face.track_id))
            self._seen[face.track_id] = frame
            if face.person_id is not None and face.person_id != self._names.get(face.track_id):
                self._names[face.track_id] = face.person_id
                event = _event("person_recognised", frame, frame.frame_index, face.track_id)
                events.append(msgspec.structs.replace(event, person_id=face.person_id, text=face.person_id))
        return events

    def end(self, frame: AUFrame) -> list[Event]:
        """The source has ended, or lost its tracks, after this frame."""
        return [self._ended(track, frame) for track in list(self._seen)]

    def _forgotten(self, last: AUFrame, frame: AUFrame) -> bool:
        """Also where the source's clock has begun anew."""
        return abs(frame.time_s - last.time_s) > self._memory_s

    def _ended(self, track: int, frame: AUFrame) -> Event:
        self._names.pop(track, None)
        return _event("track_ended", frame, self._seen.pop(track).frame_index, track)


def _event(kind: str, frame: AUFrame, frame_index: int, track_id: int) -> Event:
    return Event(
        source_id=frame.source_id,
        kind=kind,
        t_ns=frame.t_capture_ns,
        wall_ns=frame.wall_capture_ns,
        frame_index=frame_index,
        track_id=track_id,
    )
