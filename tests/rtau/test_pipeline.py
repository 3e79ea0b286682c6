import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from rtau import pipeline
from rtau.au import AUs
from rtau.config import PipelineConfig, RuntimeConfig, SourceConfig
from rtau.decode import Decode
from rtau.errors import DeviceError, ModelError
from rtau.faces import FaceNetworks, Faces, together
from rtau.messages import AUFrame
from rtau.pipeline import journey, open_run
from rtau.process import Job, run_job
from rtau.structures import Frame, Picture, TrackedFaces
from tests.rtau import film

ONE_PROCESS = PipelineConfig(runtime=RuntimeConfig(processes=False))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second; two faces of different size, one of them leaving the picture."""
    near = lambda t: (150 + 40 * t, 180, 110, 15 * t)  # noqa: E731
    far = lambda t: (380 + 160 * t, 150, 60, 0)  # noqa: E731
    return film.face_clip(tmp_path_factory.mktemp("clips") / "two.mp4", [near, far])


def still(tmp_path: Path, image: np.ndarray) -> AUFrame:
    """The pipeline on one picture."""
    import cv2

    path = tmp_path / "still.png"
    cv2.imwrite(str(path), image[..., ::-1])
    (frame,) = journey(ONE_PROCESS, SourceConfig(path=str(path)))
    return frame


def untimed(frame: AUFrame) -> AUFrame:
    return msgspec.structs.replace(frame, t_capture_ns=0, wall_capture_ns=0)


def test_processes_give_the_same_frames_bit_for_bit(clip: Path) -> None:
    source = SourceConfig(path=str(clip))
    alone = [untimed(frame) for frame in journey(ONE_PROCESS, source)]
    with open_run(PipelineConfig(), source) as run:
        together = [untimed(frame) for frame in run]
    assert len(alone) == 30
    assert together == alone
    assert [(time.stage, time.frames) for time in run.times] == [("decode", 30), ("faces", 30), ("au", 30)]


def test_a_clock_that_begins_anew_hides_no_face_and_brings_back_no_id(clip: Path) -> None:
    """As in MPEG files that were put together: one face is followed when the time falls, and another comes."""
    faces = Faces(ONE_PROCESS)
    with Decode(SourceConfig(path=str(clip))) as decode:
        first = next(iter(decode))
        assert first.picture is not None
        luma = first.picture.y.copy()
        luma[:, 300:] = 96  # without the second face
        before = faces(dataclasses.replace(first, time_s=100.0, picture=first.picture._replace(y=luma)))
        after = faces(dataclasses.replace(first, time_s=0.0))
    assert before.track_ids.tolist() == [1]
    assert after.track_ids.tolist() == [2, 3]


def test_every_frame_has_a_message_with_true_time_and_stable_tracks(clip: Path) -> None:
    frames = list(journey(ONE_PROCESS, SourceConfig(path=str(clip))))
    assert [frame.frame_index for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 30, atol=1e-3)
    assert {face.track_id for frame in frames for face in frame.faces} == {1, 2}
    for frame in frames[:10]:
        big, small = sorted(frame.faces, key=lambda face: face.box[0])
        assert big.box[0] < 150 + 40 * frame.time_s < big.box[2]
        assert small.box[0] < 380 + 160 * frame.time_s < small.box[2]


def test_estimates_do_not_depend_on_who_shares_the_batch(clip: Path) -> None:
    faces, aus = Faces(ONE_PROCESS), AUs(ONE_PROCESS)
    with Decode(SourceConfig(path=str(clip))) as decode:
        frame = next(iter(decode))
        both = faces(frame)
        (together,) = aus([(frame.picture, both)])
        assert len(both.track_ids) == 2
        for i in range(2):
            (alone,) = aus([(frame.picture, TrackedFaces(*(values[i : i + 1] for values in both)))])
            for one, among in zip(alone, together, strict=True):
                np.testing.assert_allclose(one[0], among[i], atol=1e-3)


@pytest.mark.parametrize("roll", [-20.0, 20.0])
def test_roll_is_positive_when_the_head_tilts_to_the_image_left(tmp_path: Path, roll: float) -> None:
    upright = still(tmp_path, film.picture((480, 360), [(240.0, 180.0, 130.0, 0.0)])).faces[0]
    tilted = still(tmp_path, film.picture((480, 360), [(240.0, 180.0, 130.0, roll)])).faces[0]
    assert tilted.pose[2] - upright.pose[2] == pytest.approx(roll, abs=4)


def test_a_mirrored_face_turns_the_other_way_and_swaps_its_sides(tmp_path: Path) -> None:
    image = film.picture((480, 360), [(240.0, 180.0, 140.0, 0.0)])
    face, mirrored = still(tmp_path, image).faces[0], still(tmp_path, image[:, ::-1]).faces[0]
    assert mirrored.pose[1] == pytest.approx(-face.pose[1], abs=4)
    assert mirrored.pose[0] == pytest.approx(face.pose[0], abs=4)
    swapped = np.abs(np.array([mirrored.left, mirrored.right]) - [face.right, face.left])
    assert swapped.mean() < 0.25
    assert swapped.max() < 1


def test_small_faces_in_a_large_picture_are_found_once_they_have_lasted(tmp_path: Path) -> None:
    """They are 10 px wide in what the detector usually sees."""
    places = [lambda t: (300 + 40 * t, 200, 40, 0), lambda t: (900, 500, 44, 0)]
    clip = film.face_clip(tmp_path / "far.mp4", places, 0.6, (1280, 720))
    frames = list(journey(ONE_PROCESS, SourceConfig(path=str(clip))))
    assert [len(frame.faces) for frame in frames if frame.time_s < 0.39] == [0] * 12
    assert {len(frame.faces) for frame in frames if frame.time_s > 0.45} == {2}
    assert [(face.track_id, round(face.box[0] / 100)) for face in frames[-1].faces] == [(1, 3), (2, 9)]


def test_a_small_face_that_does_not_last_is_none(tmp_path: Path) -> None:
    shown, empty = film.picture((1280, 720), [(300, 200, 40, 0)]), film.picture((1280, 720), [])
    clip = film.write(tmp_path / "flash.mp4", [shown] * 4 + [empty] * 26, [i / 30 for i in range(30)])
    assert not any(frame.faces for frame in journey(ONE_PROCESS, SourceConfig(path=str(clip))))


def test_two_crossing_faces_keep_their_ids(tmp_path: Path) -> None:
    first = lambda t: (90 + 150 * t, 170, 80, 0)  # noqa: E731 - walks right, behind
    second = lambda t: (390 - 150 * t, 190, 90, 0)  # noqa: E731 - walks left, in front
    clip = film.face_clip(tmp_path / "cross.mp4", [first, second], seconds=2.0)
    frames = list(journey(ONE_PROCESS, SourceConfig(path=str(clip))))

    def who(frame: AUFrame) -> tuple[int, int]:
        left, right = sorted(frame.faces, key=lambda face: face.box[0])
        return left.track_id, right.track_id

    assert who(frames[5]) == who(frames[-1])[::-1]
    assert {face.track_id for frame in frames for face in frame.faces} == {1, 2}


def test_a_variable_frame_rate_keeps_its_times_in_the_table(tmp_path: Path) -> None:
    times = [0.0, 0.033, 0.1, 0.4, 0.45, 1.0]
    image = film.picture((320, 240), [(160.0, 120.0, 90.0, 0.0)])
    clip = film.write(tmp_path / "vfr.mp4", [image] * len(times), times)
    run_job(Job(source=str(clip), out=tmp_path / "aus.csv", config=ONE_PROCESS))
    with (tmp_path / "aus.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["pts_s"]) for row in rows] == pytest.approx(times, abs=1e-6)
    assert {row["track_id"] for row in rows} == {"1"}


def test_a_picture_without_faces_says_so(tmp_path: Path) -> None:
    frame = still(tmp_path, np.full((200, 300, 3), 90, np.uint8))
    assert (frame.reason, frame.faces) == ("no_face", [])


def test_weights_whose_hash_differs_are_refused(tmp_path: Path, clip: Path) -> None:
    import shutil
    from importlib.resources import files

    shutil.copytree(str(files("rtau") / "weights" / "au"), tmp_path / "au")
    with (tmp_path / "au" / "model.onnx").open("ab") as file:
        file.write(b"!")
    config = msgspec.structs.replace(
        ONE_PROCESS, au=msgspec.structs.replace(ONE_PROCESS.au, encoder=str(tmp_path / "au"))
    )
    with pytest.raises(ModelError, match="sha256"):
        open_run(config, SourceConfig(path=str(clip)))


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of a GPU, while the networks run on the CPU."""
    monkeypatch.setattr(pipeline, "on_gpu", lambda config: True)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_the_processes_of_a_gpu_give_the_same_frames(clip: Path) -> None:
    source = SourceConfig(path=str(clip))
    alone = [untimed(frame) for frame in journey(ONE_PROCESS, source)]
    with open_run(PipelineConfig(), source) as run:
        shared = [untimed(frame) for frame in run]
    assert shared == alone
    assert [(time.stage, time.frames) for time in run.times] == [("decode", 30), ("faces_au", 30)]


def test_the_gpu_s_decoder_needs_a_gpu(clip: Path) -> None:
    config = msgspec.structs.replace(ONE_PROCESS, device="cpu", decoder="nvdec")
    with pytest.raises(DeviceError, match="decoder nvdec: openvino-cpu runs, not a GPU; use decoder: cpu"):
        open_run(config, SourceConfig(path=str(clip)))


def kept(clip: Path) -> Iterator[Frame]:
    """The frames, with planes that last."""
    with Decode(SourceConfig(path=str(clip))) as decode:
        for frame in decode:
            assert frame.picture is not None
            format, *planes = frame.picture
            yield dataclasses.replace(frame, picture=Picture(format, *(plane.copy() for plane in planes)))


def test_faces_of_several_sources_are_found_together_as_alone(clip: Path, tmp_path: Path) -> None:
    """Batches mix sources; ids and tracks do not."""
    walker = lambda t: (120 + 60 * t, 170, 90, -10 * t)  # noqa: E731
    clips = [clip, film.face_clip(tmp_path / "walker.mp4", [walker])]
    frames = [list(kept(path)) for path in clips]
    networks = FaceNetworks(ONE_PROCESS)
    alone = [[run(frame) for frame in some] for run, some in ((Faces(ONE_PROCESS, networks), some) for some in frames)]
    runs = [Faces(ONE_PROCESS, networks) for _ in clips]
    for i, pair in enumerate(zip(*frames, strict=True)):
        found = together([run.steps(frame) for run, frame in zip(runs, pair, strict=True)], networks)
        for source, faces in enumerate(found):
            expected = alone[source][i]
            np.testing.assert_array_equal(faces.track_ids, expected.track_ids)
            np.testing.assert_allclose(faces.landmarks, expected.landmarks, atol=1e-2)
