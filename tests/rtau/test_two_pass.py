"""The second look at a clip: one resting face for all of it, names from the start, never two faces with one name."""

import errno

import numpy as np
import pytest

from calibration.baseline import Level
from rtau.errors import OutputError
from rtau.messages import AUFrame, FaceAUs
from rtau.two_pass import WholeClip
from tests.rtau.sinks.samples import face, frame

AU = "AU01"


def shown(track: int, value: float, name: str | None = None) -> FaceAUs:
    return face(track, intensity={AU: value}, person_id=name, pose=(0.0, 0.0, 0.0))


def second(frames: list[AUFrame], kept: dict[str, Level] | None = None) -> list[AUFrame]:
    with WholeClip(kept or {}) as whole:
        for each in frames:
            whole.write(each)
        return list(whole)


def test_the_whole_clip_gives_one_baseline_for_all_frames() -> None:
    story = [1.3 if i % 4 else 3.5 for i in range(80)]
    frames = second([frame(i, shown(1, value), time_s=i / 4) for i, value in enumerate(story)])
    assert {each.faces[0].baseline for each in frames} == {"ready"}
    assert len({each.faces[0].baseline_confidence for each in frames}) == 1
    a = frames[0].aus.index(AU)
    rest, raised = frames[1].faces[0], frames[0].faces[0]
    assert rest.calibrated is not None
    assert raised.calibrated is not None
    assert rest.calibrated[a] < 0.2 < 1 < raised.calibrated[a]
    assert rest.occurrence[a] < 0.5 <= raised.occurrence[a]
    assert rest.intensity[a] == 1.3


def test_a_name_that_came_late_holds_from_the_start_but_for_one_face_only() -> None:
    frames = [frame(i, shown(1, 0.1), time_s=i / 4) for i in range(4)]
    frames += [frame(i, shown(1, 0.1), shown(2, 0.1, "ada"), time_s=i / 4) for i in range(4, 8)]
    frames += [frame(i, shown(1, 0.1, "ada"), time_s=i / 4) for i in range(8, 12)]
    told = [[each.person_id for each in done.faces] for done in second(frames)]
    assert told == [["ada"]] * 4 + [[None, "ada"]] * 4 + [["ada"]] * 4


def test_an_enrolled_person_has_her_own_baseline_and_too_few_looks_none() -> None:
    level = Level(np.full((2, 20), 1.3, np.float32), np.full((2, 20), 0.1, np.float32), 30.0)
    frames = [frame(i, shown(1, 1.3, "ada"), shown(2, 1.3), time_s=i / 4) for i in range(3)]
    for done in second(frames, {"ada": level}):
        ada, other = done.faces
        assert (ada.baseline, ada.baseline_confidence) == ("fixed", level.confidence)
        assert ada.calibrated is not None
        assert ada.calibrated[done.aus.index(AU)] < 0.2
        assert (other.baseline, other.calibrated) == ("warming", None)


def test_two_tracks_of_one_person_are_read_together() -> None:
    parts = [frame(i, shown(1 + i // 20, 0.8, "ada"), time_s=i / 4) for i in range(40)]
    alone = [frame(i, shown(1 + i // 20, 0.8), time_s=i / 4) for i in range(40)]
    assert {each.faces[0].baseline for each in second(parts)} == {"ready"}
    assert {each.faces[0].baseline for each in second(alone)} == {"warming"}


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with WholeClip({}) as whole:
        full = OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(whole._file, "write", lambda data: (_ for _ in ()).throw(full), raising=False)
        with pytest.raises(OutputError, match="the disk is full"):
            whole.write(frame(0, shown(1, 0.1)))
