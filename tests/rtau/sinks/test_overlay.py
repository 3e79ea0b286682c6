import os
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from rtau.config import SourceConfig
from rtau.crop import crop, to_rgb
from rtau.decode import Decode
from rtau.errors import OutputError
from rtau.messages import AUFrame, RunInfo
from rtau.sinks.drawing import Drawing
from rtau.sinks.overlay import check_overlay, open_overlay
from rtau.sinks.spool import Spool, drawn_frame
from rtau.structures import Picture, PictureFormat
from tests.rtau.sinks.samples import SOURCE, face, frame, mesh, run_info

TIMES_S = (0.0, 0.04, 0.1, 0.3, 0.325, 0.5)  # a variable frame rate
BLUE = (150.0, 130.0, 260.0, 270.0)  # where the clip has a blue square


def make_clip(path: Path, size: tuple[int, int] = (331, 301)) -> Path:
    """Six grey pictures that get lighter, with a blue square; odd size, true times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, time_s in enumerate(TIMES_S):
            image = np.full((size[1], size[0], 3), 60 + 20 * i, np.uint8)
            image[130:270, 150:260] = (20, 20, 220)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def frames_of(path: Path, strongest: int = 3) -> list[AUFrame]:
    with Decode(SourceConfig(path=str(path))) as decode:
        times = [(each.index, each.time_s) for each in decode]
    made = []
    for index, time_s in times:
        strength = {"AU12L": 4.0 if index == strongest else 1.0, "AU12R": 0.2}
        one = face(1, box=BLUE, landmarks=mesh(BLUE), intensity=strength)
        made.append(frame(index, one, time_s=time_s))
    return made


def info_of(path: Path) -> RunInfo:
    with Decode(SourceConfig(path=str(path))) as decode:
        return run_info(source=decode.info)


def make_overlay(clip: Path, out: Path, frames: list[AUFrame]) -> list[tuple[int, int]]:
    calls: list[tuple[int, int]] = []
    with open_overlay(out, SourceConfig(path=str(clip)), info_of(clip)) as overlay:
        for each in frames:
            overlay.write(each)
        assert not out.exists()
        overlay.finish(lambda done, total: calls.append((done, total)))
    assert sorted(path.name for path in out.parent.iterdir()) == sorted([clip.name, out.name])
    return calls


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


def test_the_video_keeps_the_times_of_a_variable_frame_rate(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    calls = make_overlay(clip, tmp_path / "drawn.mp4", frames_of(clip))
    assert calls == [(done, 6) for done in range(1, 7)]
    with av.open(str(tmp_path / "drawn.mp4")) as container:
        stream = container.streams.video[0]
        times = [float(each.time) for each in container.decode(stream) if each.time is not None]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.width % 2 == stream.height % 2 == 0
    np.testing.assert_allclose(times, TIMES_S, atol=1e-4)


def test_the_picture_is_upright_beside_the_panel_and_keeps_its_colours(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    make_overlay(clip, tmp_path / "drawn.mp4", frames_of(clip))
    with av.open(str(tmp_path / "drawn.mp4")) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert first.shape[1] > 331
    np.testing.assert_allclose(first[20:100, 20:300].mean(axis=(0, 1)), 60, atol=4)
    np.testing.assert_allclose(np.median(first[140:260, 160:250], axis=(0, 1)), (20, 20, 220), atol=25)
    assert first[:, 340:].mean() < 60  # the panel is dark


def test_the_picture_overlay_is_the_frame_with_the_strongest_aus(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    make_overlay(clip, tmp_path / "drawn.png", frames_of(clip, strongest=3))
    image = cv2.imread(str(tmp_path / "drawn.png"))
    assert image is not None
    np.testing.assert_allclose(image[20:100, 20:300].mean(), 120, atol=4)


def test_unreliable_faces_do_not_choose_the_picture(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    frames = frames_of(clip, strongest=3)
    shaky = msgspec.structs.replace(frames[5].faces[0], low_quality=True, intensity=[5.0] * 20)
    make_overlay(clip, tmp_path / "drawn.png", [*frames[:5], msgspec.structs.replace(frames[5], faces=[shaky])])
    image = cv2.imread(str(tmp_path / "drawn.png"))
    assert image is not None
    np.testing.assert_allclose(image[20:100, 20:300].mean(), 120, atol=4)


def test_a_run_without_faces_still_gives_a_picture(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    make_overlay(clip, tmp_path / "drawn.png", [frame(i, time_s=t) for i, t in enumerate(TIMES_S)])
    assert cv2.imread(str(tmp_path / "drawn.png")) is not None


def test_a_stopped_run_is_drawn_up_to_its_end(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    make_overlay(clip, tmp_path / "drawn.mp4", frames_of(clip)[:2])
    with av.open(str(tmp_path / "drawn.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2


@pytest.mark.parametrize("name", ["drawn.mp4", "drawn.png"])
def test_an_abandoned_overlay_leaves_nothing(clip: Path, tmp_path: Path, name: str) -> None:
    with open_overlay(tmp_path / name, SourceConfig(path=str(clip)), info_of(clip)) as overlay:
        overlay.write(frames_of(clip)[0])
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_before_the_run(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    with pytest.raises(OutputError, match=r"must end in \.mp4 or \.png"):
        check_overlay(tmp_path / "drawn.avi", str(clip), overwrite=False)
    with pytest.raises(OutputError, match="is the input"):
        check_overlay(clip, str(clip), overwrite=True)
    (tmp_path / "drawn.png").touch()
    with pytest.raises(OutputError, match="exists already; use --overwrite"):
        check_overlay(tmp_path / "drawn.png", str(clip), overwrite=False)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("name", ["drawn.mp4", "drawn.png"])
def test_a_full_disk_leaves_nothing(clip: Path, small_disk: Path, name: str) -> None:
    frames, info = frames_of(clip), info_of(clip)
    with open_overlay(small_disk / name, SourceConfig(path=str(clip)), info) as overlay:
        for each in frames:
            overlay.write(each)
        (small_disk / "filler").write_bytes(bytes(_free(small_disk)))
        with pytest.raises(OutputError, match=rf"{name}: the disk is full"):
            overlay.finish(lambda done, total: None)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def _free(folder: Path) -> int:
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


# The spool


def test_the_spool_gives_back_what_was_written(tmp_path: Path) -> None:
    frames = [frame(0, face(1, landmarks=mesh()), face(2)), frame(1), frame(2, reason="decode_error")]
    spool = Spool(tmp_path)
    for each in frames:
        spool.write(each)
    assert list(tmp_path.iterdir()) == []  # nothing to clean up, however the run ends
    for wrote, read in zip(frames, spool, strict=True):
        assert read.frame == drawn_frame(wrote).frame
        assert [len(points) for points in read.points] == [478 if each.landmarks else 0 for each in wrote.faces]
    np.testing.assert_allclose(next(iter(spool)).points[0], np.array(mesh())[:, :2], rtol=1e-6)
    spool.close()


# Drawing


def drawing_of(frame: AUFrame, columns: int = 1, width: int = 640, height: int = 360) -> NDArray[np.uint8]:
    drawing = Drawing(run_info(source=msgspec.structs.replace(SOURCE, width=width, height=height)), columns)
    return drawing(np.zeros((*drawing.picture_size[::-1], 3), np.uint8), drawn_frame(frame))


def bars(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Coloured pixels of the panel at the left and right of its middle line."""
    panel = image[50:, 640:].astype(int)
    coloured = np.ptp(panel, axis=2) > 60
    middle = panel[-60:].sum(axis=(0, 2))[150:].argmax() + 150  # the longest line
    return int(coloured[:, :middle].sum()), int(coloured[:, middle + 1 :].sum())


def test_the_subjects_right_side_is_drawn_at_the_left_as_in_the_image() -> None:
    right, left = bars(drawing_of(frame(0, face(intensity={"AU12R": 4.0}))))
    assert right > 100
    assert left == 0
    right, left = bars(drawing_of(frame(0, face(intensity={"AU12L": 4.0}))))
    assert left > 100
    assert right == 0


def test_absent_aus_and_unreliable_faces_have_no_coloured_bars() -> None:
    assert bars(drawing_of(frame(0, face(intensity={"AU12": 0.9})))) == (0, 0)
    assert bars(drawing_of(frame(0, face(intensity={"AU12": 4.0}, low_quality=True)))) == (0, 0)


def test_all_frames_of_a_run_have_one_size() -> None:
    drawing = Drawing(run_info(), columns=2)
    picture = np.zeros((360, 640, 3), np.uint8)
    crowd = frame(0, *(face(i) for i in range(1, 9)))
    shapes = {drawing(picture, drawn_frame(each)).shape for each in (frame(0), frame(1, face(3)), crowd)}
    assert shapes == {(*drawing.size[::-1], 3)}


def test_small_pictures_are_enlarged_so_that_the_panel_can_be_read() -> None:
    assert drawing_of(frame(0, face(box=(1, 1, 9, 9))), width=33, height=21).shape[0] >= 300


def test_a_face_partly_outside_the_picture_is_drawn() -> None:
    box = (-50.0, -80.0, 700.0, 400.0)
    drawing_of(frame(0, face(box=box, landmarks=mesh(box))))


def test_a_face_keeps_its_column_while_another_comes_and_goes() -> None:
    drawing = Drawing(run_info(), columns=2)
    picture = np.zeros((360, 640, 3), np.uint8)
    smile = {"AU12": 4.0}
    one, two = face(1), face(2, intensity=smile)
    before = drawing(picture, drawn_frame(frame(0, one, two)))[60:, 640:]
    after = drawing(picture, drawn_frame(frame(1, two)))[60:, 640:]
    coloured = [np.flatnonzero((np.ptp(image.astype(int), axis=2) > 60).any(axis=0)) for image in (before, after)]
    np.testing.assert_array_equal(*coloured)


# Colours and directions of the drawn picture


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(("shift_x", "shift_y", "bits"), [(1, 1, 8), (1, 0, 10), (0, 0, 8)])
def test_the_drawn_picture_equals_what_the_networks_see(rotation: int, shift_x: int, shift_y: int, bits: int) -> None:
    format = PictureFormat(
        stored_width=48,
        stored_height=32,
        chroma_shift_x=shift_x,
        chroma_shift_y=shift_y,
        bits=bits,
        matrix="bt709",
        full_range=False,
        rotation=rotation,  # type: ignore[arg-type]
    )
    ramp = np.linspace(0.2, 0.8, 48)[None, :] * np.linspace(0.5, 1, 32)[:, None] * (2**bits - 1)
    luma = ramp.astype(np.uint8 if bits == 8 else np.uint16)
    rows, columns = format.chroma_shape
    chroma = np.ascontiguousarray(cv2.resize(ramp, (columns, rows)).astype(luma.dtype))
    picture = Picture(format, luma, chroma, chroma[::-1].copy())
    identity = np.eye(3)[None, :2]
    seen = crop(picture, identity, (format.width, format.height), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    np.testing.assert_allclose(to_rgb(picture).transpose(2, 0, 1)[None], seen * 255, atol=6)
