"""Containers, codecs, formats and time, on clips made here; and the ways in which files are broken."""

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtau.config import SourceConfig
from rtau.crop import to_rgb
from rtau.decode import Decode, copy_picture, view_picture
from rtau.engines import probe
from rtau.errors import DamagedSourceError, DeviceError, SourceError
from rtau.structures import Frame
from tests.rtau import film
from train.data.split import material

Image = NDArray[np.uint8]


_RATE = 44100  # of sound


def scene(size: tuple[int, int] = (64, 48), shade: int = 0) -> Image:
    """Red at the top left, green at the top right, blue below, with a lighter square that tells frames apart."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (200, 30, 30)
    image[: height // 2, width // 2 :] = (30, 200, 30)
    image[height // 2 :] = (30, 30, 200)
    image[height // 2 + 4 : height // 2 + 12, 4:12] = shade
    return image


def make(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times_s: Iterable[float] = tuple(i / 25 for i in range(10)),
    size: tuple[int, int] = (64, 48),
    muxing: dict[str, str] | None = None,
    aspect: Fraction = Fraction(1),
    sound: bool = False,
    **options: str,
) -> Path:
    """A clip of `scene` with these timestamps and pixels of this shape, with silence to hear if wanted."""
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.options = options
        stream.codec_context.sample_aspect_ratio = aspect
        fixed_rate = codec in ("mpeg1video", "mpeg4", "flv")
        base = Fraction(1, 25) if fixed_rate else Fraction(1, 12800)
        stream.codec_context.time_base = base
        if sound:
            silence = container.add_stream("aac", rate=_RATE)
            silence.layout = "mono"  # type: ignore[union-attr]
        heard = 0
        for i, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(scene(size, 20 * i % 250), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(time_s / base), base
            container.mux(stream.encode(frame))
            while sound and heard < time_s * _RATE:
                quiet = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                quiet.sample_rate, quiet.pts, quiet.time_base = _RATE, heard, Fraction(1, _RATE)
                container.mux(silence.encode(quiet))  # type: ignore[union-attr]
                heard += 1024
        container.mux(stream.encode(None))
    return path


def frames_of(path: Path, **source: float) -> list[Frame]:
    with Decode(SourceConfig(path=str(path), **source)) as decode:  # type: ignore[arg-type]
        return list(decode)


def colours(path: Path) -> list[list[int]]:
    """The displayed corners of the first frame, clockwise from the top left."""
    with Decode(SourceConfig(path=str(path))) as decode:
        frame = next(iter(decode))
        assert frame.picture is not None
        image = to_rgb(frame.picture).astype(int)
    return [image[y, x].tolist() for y, x in ((3, 3), (3, -4), (-4, -4), (-4, 3))]


RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv422p"),
        ("b.mkv", "libx264", "yuv444p"),
        ("c.mkv", "libx264", "yuv420p10le"),
        ("d.mkv", "libx264", "yuv422p10le"),
        ("a.mov", "libx265", "yuv420p"),
        ("b.mov", "libx265", "yuv420p10le"),
        ("a.mpg", "mpeg1video", "yuv420p"),
        ("a.flv", "flv", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("e.mkv", "ffv1", "gray"),
        ("f.mkv", "ffv1", "bgr0"),
        ("g.mkv", "ffv1", "yuva420p"),
    ],
)
def test_containers_codecs_and_formats(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = make(tmp_path / name, codec, pix_fmt, **quiet)
    frames = frames_of(path)
    assert [frame.index for frame in frames] == list(range(10))
    np.testing.assert_allclose(np.diff([frame.time_s for frame in frames]), 0.04, atol=0.0015)
    if pix_fmt != "gray":
        np.testing.assert_allclose(colours(path), [RED, GREEN, BLUE, BLUE], atol=16)


@pytest.mark.parametrize("size", [(63, 47), (65, 48), (64, 49)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make(tmp_path / "odd.mkv", "ffv1", "yuv420p", size=size)
    frames = frames_of(path)
    assert frames[0].picture is not None
    assert (frames[0].picture.format.width, frames[0].picture.format.height) == size
    np.testing.assert_allclose(colours(path), [RED, GREEN, BLUE, BLUE], atol=16)


def test_times_of_a_variable_frame_rate_are_exact(tmp_path: Path) -> None:
    times = [0.0, 0.01, 0.25, 0.26, 1.5, 1.75]
    frames = frames_of(make(tmp_path / "vfr.mp4", times_s=times))
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-4)


def test_b_frames_come_in_display_order(tmp_path: Path) -> None:
    path = make(tmp_path / "b.mp4", times_s=[i / 25 for i in range(12)], bf="3", preset="medium")
    frames = frames_of(path)
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in range(12)], abs=1e-4)


def test_start_and_end_are_times_of_the_source(tmp_path: Path) -> None:
    path = make(tmp_path / "long.mp4", times_s=[i / 25 for i in range(100)], g="10")
    frames = frames_of(path, start_s=1.99, end_s=2.2)
    assert [frame.time_s for frame in frames] == pytest.approx([2.0, 2.04, 2.08, 2.12, 2.16], abs=1e-4)
    assert [frame.index for frame in frames] == list(range(5))
    with pytest.raises(SourceError, match=r"no frame at or after 9 s; choose another --start$"):
        frames_of(path, start_s=9.0)
    with pytest.raises(SourceError, match=r"no frame at or after 1.001 s and before 1.03 s; choose another --start or"):
        frames_of(path, start_s=1.001, end_s=1.03)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.h264", "libx264"), ("a.avi", "mpeg4"),
     ("a.mpg", "mpeg1video")],
)  # fmt: skip
@pytest.mark.parametrize("start_s", [0.7, 2.0, 3.01])
def test_a_start_loses_and_shifts_no_frame_whatever_the_container(
    tmp_path: Path, name: str, codec: str, start_s: float
) -> None:
    path = make(tmp_path / name, codec, times_s=[i / 25 for i in range(100)], g="25", bf="2")
    whole = [frame for frame in seen(path) if frame[0] >= start_s]
    assert len(whole) > 20
    assert seen(path, start_s=start_s) == whole


def seen(path: Path, **source: float) -> list[tuple[float, bytes]]:
    """Time and luma of every frame."""
    with Decode(SourceConfig(path=str(path), **source)) as decode:  # type: ignore[arg-type]
        return [(frame.time_s, frame.picture.y.tobytes()) for frame in decode if frame.picture is not None]


def test_a_name_with_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "clip.mp4").rename(tmp_path / "2026-05-01T10:30:00.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(frames_of(Path("2026-05-01T10:30:00.mp4"))) == 10


MATRICES = {  # tkhd matrix a, b, c, d: where a camera's x and y point on the display
    0: (1, 0, 0, 1),
    270: (0, 1, -1, 0),  # a phone held upright: turned clockwise
    180: (-1, 0, 0, -1),
    90: (0, -1, 1, 0),
}


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_shown_as_their_exif_data_say(tmp_path: Path, orientation: int, suffix: str) -> None:
    from PIL import Image, ImageOps

    path, noted = tmp_path / f"photo.{suffix}", Image.Exif()
    noted[0x0112] = orientation
    Image.fromarray(film.photograph()[:300, 100:500]).save(path, exif=noted)
    with Decode(SourceConfig(path=str(path))) as decode:
        (frame,) = decode
        assert frame.picture is not None
        shown = to_rgb(frame.picture)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert shown.shape == wanted.shape
    assert np.abs(shown.astype(int) - wanted).mean() < 2


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_of_the_container_is_undone_for_the_display(tmp_path: Path, rotation: int) -> None:
    """What is seen on the display must be `scene`'s colours, carried round by the matrix."""
    path = make(tmp_path / "phone.mp4")
    set_matrix(path, MATRICES[rotation])
    corners = [RED, GREEN, BLUE, BLUE]  # stored, clockwise from the top left
    clockwise = {0: 0, 270: 1, 180: 2, 90: 3}[rotation]
    np.testing.assert_allclose(colours(path), corners[-clockwise:] + corners[:-clockwise], atol=16)
    with Decode(SourceConfig(path=str(path))) as decode:
        assert decode.info.rotation == rotation
        assert (decode.info.width, decode.info.height) == ((64, 48) if clockwise % 2 == 0 else (48, 64))


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes after the name
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "corners"),
    [
        ((-1, 0, 0, 1), [GREEN, RED, BLUE, BLUE]),
        ((1, 0, 0, -1), [BLUE, BLUE, GREEN, RED]),
        ((0, 1, 1, 0), [RED, BLUE, BLUE, GREEN]),  # x and y exchanged
        ((0, -1, -1, 0), [BLUE, GREEN, RED, BLUE]),
    ],
)
def test_a_mirror_of_the_container_is_shown(
    tmp_path: Path, matrix: tuple[int, ...], corners: list[tuple[int, int, int]]
) -> None:
    path = make(tmp_path / "selfie.mp4")
    set_matrix(path, matrix)
    np.testing.assert_allclose(colours(path), corners, atol=16)


@pytest.mark.parametrize(("aspect", "width"), [(Fraction(4, 3), 85), (Fraction(8, 9), 57), (Fraction(1, 100), 64)])
def test_pixels_that_are_not_square_are_displayed_as_they_are_meant(
    tmp_path: Path, aspect: Fraction, width: int
) -> None:
    path = make(tmp_path / "dv.mp4", aspect=aspect)
    with Decode(SourceConfig(path=str(path))) as decode:
        assert (decode.info.width, decode.info.height) == (width, 48)
        assert next(iter(decode)).picture is not None
    np.testing.assert_allclose(colours(path), [RED, GREEN, BLUE, BLUE], atol=16)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_an_image_is_one_frame_at_time_zero_with_its_colours(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"still{suffix}"
    cv2.imwrite(str(path), scene()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    (frame,) = frames_of(path)
    assert (frame.index, frame.time_s) == (0, 0.0)
    np.testing.assert_allclose(colours(path), [RED, GREEN, BLUE, BLUE], atol=4)


def test_a_change_of_size_in_mid_stream_is_brought_to_the_first(tmp_path: Path) -> None:
    small, large = make(tmp_path / "s.ts", size=(64, 48)), make(tmp_path / "l.ts", size=(96, 64))
    (tmp_path / "both.ts").write_bytes(small.read_bytes() + large.read_bytes())
    frames = [frame for frame in frames_of(tmp_path / "both.ts") if frame.picture is not None]
    assert len(frames) > 12
    assert {(f.picture.format.width, f.picture.format.height) for f in frames if f.picture} == {(64, 48)}


def test_a_picture_survives_the_shared_memory(tmp_path: Path) -> None:
    for name, pix_fmt in (("a.mkv", "yuv420p"), ("b.mkv", "yuv422p10le")):
        path = make(tmp_path / name, "ffv1", pix_fmt, size=(61, 47))
        with Decode(SourceConfig(path=str(path))) as decode:
            picture = next(iter(decode)).picture
            assert picture is not None
            buffer = memoryview(bytearray(picture.format.nbytes + 7))
            copy_picture(picture, buffer)
            for plane, copy in zip(picture[1:], view_picture(picture.format, buffer)[1:], strict=True):
                np.testing.assert_array_equal(plane, copy)


def test_sound_without_pictures_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match=r"no video in it \(found: audio\)"):
        Decode(SourceConfig(path=str(path)))


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "empty.mp4", times_s=())
    with pytest.raises(SourceError, match="empty"):
        frames_of(path)


def test_a_cut_before_the_index_is_said(tmp_path: Path) -> None:
    path = make(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(SourceError, match="cut off before its index"):
        Decode(SourceConfig(path=str(path)))


@pytest.mark.parametrize(("name", "muxing"), [("front.mp4", {"movflags": "faststart"}), ("cut.mkv", {})])
def test_a_cut_in_the_middle_gives_the_frames_up_to_there(tmp_path: Path, name: str, muxing: dict[str, str]) -> None:
    whole = make(tmp_path / f"whole_{name}", times_s=[i / 25 for i in range(100)], muxing=muxing, g="10", qp="0")
    cut = tmp_path / name
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    frames: list[Frame] = []
    with Decode(SourceConfig(path=str(cut))) as decode, pytest.raises(DamagedSourceError, match="the file is cut off"):
        frames.extend(decode)
    good = [frame for frame in frames if frame.picture is not None]
    assert 20 < len(good) < 95
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_a_cut_before_the_wanted_end_is_said_and_one_after_it_is_not(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mkv", times_s=[i / 25 for i in range(100)], g="10", qp="0")
    assert len(frames_of(whole, end_s=9.0)) == 100
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(DamagedSourceError, match="the file is cut off"):
        frames_of(cut, end_s=3.9)
    assert len(frames_of(cut, end_s=1.0)) == 25


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.flv", "flv"), ("a.avi", "mpeg4")])
def test_a_cut_of_a_clip_with_sound_is_said(tmp_path: Path, name: str, codec: str) -> None:
    whole = make(tmp_path / name, codec, times_s=[i / 25 for i in range(100)], sound=True, g="10")
    assert len(frames_of(whole)) == 100
    cut = tmp_path / f"cut_{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(DamagedSourceError, match=r"of 4\.\d\d s: the file is cut off"):
        frames_of(cut)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_a_clip_that_begins_late_is_not_cut_off(tmp_path: Path, name: str) -> None:
    frames = frames_of(make(tmp_path / name, times_s=[5 + i / 25 for i in range(50)]))
    assert len(frames) == 50
    assert frames[0].time_s == pytest.approx(5.0, abs=1e-3)


def test_corrupt_packets_in_the_middle_leave_a_gap_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = make(tmp_path / "noise.mp4", times_s=[i / 25 for i in range(60)], g="5", bf="0", qp="0")
    places = []
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for pos, size in places[20:23]:
        assert pos is not None
        data[pos : pos + size] = bytes(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))
    path.write_bytes(data)
    frames = frames_of(path)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    failed = [frame.time_s for frame in frames if frame.picture is None]
    assert failed
    assert all(0.75 < time_s < 1.1 for time_s in failed)
    assert len(frames) >= 57
    assert frames[-1].time_s == pytest.approx(59 / 25, abs=1e-3)
    assert (np.diff([frame.time_s for frame in frames]) > 0).all()


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(SourceError, match=r"^rtsp://127.0.0.1:1: cannot be opened: [^/]*$"):
        Decode(SourceConfig(path="rtsp://anna:sec@ret@127.0.0.1:1/password=secret"))


@pytest.mark.skipif(not material().is_dir(), reason="the open clips are not here")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("crema_1001_DFA_HAP_XX.flv", 56),
        ("grid_bbaf2n.mpg", 75),
        ("intel_asl_yes.mkv", 65),
        ("intel_walking_three.mp4", 41),
        ("pexels_langer_expressions.mp4", 472),
        ("pyfeat_face_noface.mov", 169),
        ("pyfeat_multi_face.jpg", 1),
    ],
)
def test_healthy_clips_of_the_world_decode_whole(name: str, count: int) -> None:
    frames = frames_of(material() / "media" / name)
    assert len(frames) == count
    assert all(frame.picture is not None for frame in frames)


@pytest.mark.skipif(bool(probe.gpus()), reason="here is a GPU: tests/rtau/gpu/test_on_gpu.py")
def test_a_gpu_decoder_that_is_not_there_is_not_replaced_in_silence(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"clip\.mp4: NVDEC cannot decode it \(.*\); use decoder: cpu"):
        Decode(SourceConfig(path=str(make(tmp_path / "clip.mp4")), nvdec=0))
