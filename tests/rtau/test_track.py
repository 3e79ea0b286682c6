import numpy as np
import pytest

from rtau.boxes import Box, bounds, overlap, suppress
from rtau.track import Sighting, Tracker

SIZE = 100.0


def at(x: float, y: float = 0.0, size: float = SIZE) -> Sighting:
    """A face whose box is `size` wide about (x, y)."""
    grid = np.linspace(-size / 2, size / 2, 478, dtype=np.float32)
    landmarks = np.stack([grid + np.float32(x), grid[::-1] + np.float32(y), np.zeros_like(grid)], axis=1)
    return Sighting(landmarks, np.zeros(3, np.float32), 0.9, Box.around(landmarks))


def test_ids_count_from_one_and_faces_stay_in_their_order() -> None:
    tracker = Tracker(memory_s=1)
    ids = [tracker.admit(at(x), 0.0).track_id for x in (500.0, 0.0, 900.0)]
    assert ids == [1, 2, 3]
    assert [track.track_id for track in tracker.active] == [1, 2, 3]


def test_a_face_that_comes_back_in_time_keeps_its_id() -> None:
    tracker = Tracker(memory_s=1)
    track = tracker.admit(at(0), 0.0)
    track.seen(at(10), 0.1)  # 100 px/s
    tracker.advance({}, 0.6)
    assert tracker.admit(at(60), 0.6).track_id == 1


@pytest.mark.parametrize(("x", "time_s", "size"), [(30.0, 2.0, SIZE), (400.0, 0.3, SIZE), (0.0, 0.3, 3 * SIZE)])
def test_too_late_too_far_or_another_size_is_a_new_face(x: float, time_s: float, size: float) -> None:
    tracker = Tracker(memory_s=1)
    tracker.admit(at(0), 0.0)
    tracker.advance({}, time_s)
    assert tracker.admit(at(x, size=size), time_s).track_id == 2


def test_two_crossing_faces_keep_their_ids() -> None:
    """One walks right at 400 px/s, one left; while they overlap, both regions show the face in front."""
    tracker = Tracker(memory_s=1)
    first, second = (lambda t: 400 * t), (lambda t: 800 - 400 * t)
    tracker.admit(at(first(0)), 0.0)
    tracker.admit(at(second(0)), 0.0)
    for step in range(1, 61):
        time_s = step / 30
        hidden = abs(first(time_s) - second(time_s)) < 0.7 * SIZE  # track 1 is in front
        seen = {1: at(first(time_s)), 2: at(first(time_s) if hidden else second(time_s))}
        tracker.advance({track.track_id: seen[track.track_id] for track in tracker.active}, time_s)
        if not hidden and len(tracker.active) < 2:  # the detector finds the one that was hidden
            missing = {1: first, 2: second}[3 - tracker.active[0].track_id]
            tracker.admit(at(missing(time_s)), time_s)
    assert [track.track_id for track in tracker.active] == [1, 2]
    boxes = {track.track_id: track.last.box.centre[0] for track in tracker.active}
    assert boxes[1] == pytest.approx(first(2.0), abs=1)
    assert boxes[2] == pytest.approx(second(2.0), abs=1)


@pytest.mark.parametrize(
    ("other", "overlaps", "covers"),
    [((0, 0, 10, 10), 1, 1), ((5, 0, 15, 10), 1 / 3, 0.5), ((2, 2, 4, 4), 0.04, 1), ((20, 0, 30, 10), 0, 0)],
)
def test_overlap_and_cover_of_boxes(other: tuple[int, ...], overlaps: float, covers: float) -> None:
    box, second = Box(0, 0, 10, 10), Box(*other)
    assert box.overlap(second) == pytest.approx(overlaps)
    assert box.covered(second) == pytest.approx(covers)
    assert overlap(np.array(box), np.array([second]))[0] == pytest.approx(overlaps)


def test_the_box_around_points() -> None:
    points = np.array([[3.0, 4.0, 9.0], [1.0, 7.0, 9.0]])
    assert Box.around(points) == (1, 4, 3, 7)
    assert bounds(points).tolist() == [1, 4, 3, 7]


def test_suppression_keeps_the_best_of_each_heap() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]], np.float32)
    assert suppress(boxes, np.array([0.6, 0.9, 0.7], np.float32)) == [1, 2]
