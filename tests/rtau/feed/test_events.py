from rtau.feed.events import TrackEvents
from tests.rtau.feed import made_up

ONE, TWO = made_up.face(1), made_up.face(2)


def test_the_life_of_two_tracks() -> None:
    """Frames are 1/32 s apart; a track is remembered for 3 of them."""
    tell = TrackEvents(memory_s=3 / 32)
    story = [(ONE,), (ONE, TWO), (ONE,), (), (ONE,), (ONE,), (ONE,), ()]
    told = []
    for index, faces in enumerate(story):
        frame = made_up.frame(index, *faces)
        for event in tell(frame):
            told.append((index, event.kind, event.track_id, event.frame_index))
            assert (event.source_id, event.t_ns) == ("cam", frame.t_capture_ns)
            assert event.wall_ns == frame.wall_capture_ns
    assert told == [(0, "track_started", 1, 0), (1, "track_started", 2, 1), (5, "track_ended", 2, 1)]
    assert [(e.kind, e.track_id, e.frame_index) for e in tell.end(made_up.frame(7))] == [("track_ended", 1, 6)]
    assert tell.end(made_up.frame(7)) == []


def test_a_source_whose_clock_begins_anew_has_new_tracks() -> None:
    tell = TrackEvents(memory_s=1.0)
    tell(made_up.frame(100, ONE))
    again = made_up.frame(101, ONE, time_s=0.0)
    assert [(event.kind, event.frame_index) for event in tell(again)] == [("track_ended", 100), ("track_started", 101)]


def test_a_clock_that_steps_back_a_little_ends_no_track() -> None:
    tell = TrackEvents(memory_s=1.0)
    tell(made_up.frame(100, ONE))
    assert tell(made_up.frame(101, ONE, time_s=made_up.frame(100).time_s - 0.5)) == []


def test_a_person_is_announced_once_a_track_and_again_when_the_name_changes() -> None:
    tell = TrackEvents(memory_s=1.0)
    ada, bob = made_up.face(1, person_id="ada"), made_up.face(1, person_id="bob")
    told = []
    for index, face in enumerate((ONE, ada, ada, ONE, ada, bob)):
        told += [(e.frame_index, e.track_id, e.person_id) for e in tell(made_up.frame(index, face)) if e.person_id]
    assert told == [(1, 1, "ada"), (5, 1, "bob")]
    tell(made_up.frame(500))
    again = tell(made_up.frame(501, made_up.face(2, person_id="bob")))
    assert [(e.kind, e.person_id) for e in again] == [("track_started", None), ("person_recognised", "bob")]
