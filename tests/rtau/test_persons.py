"""Persons in the pipeline: enrolled once, named in other clips by every layout, with their own resting face."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from calibration.gallery import Gallery, Secret
from calibration.profile import Neutral, Profile, to_bytes
from rtau.au import AUs
from rtau.config import PersonsConfig, PipelineConfig, RuntimeConfig, SourceConfig
from rtau.decode import Decode
from rtau.enrol import Enrolment, enrol
from rtau.errors import DeviceError, GalleryError, SourceError
from rtau.faces import Faces
from rtau.messages import AUFrame
from rtau.persons import Persons, Seen, occurrence_at
from rtau.pipeline import journey, open_run
from rtau.process import Job, run_job
from tests.rtau import film

ONE_PROCESS = PipelineConfig(runtime=RuntimeConfig(processes=False))
FPS = 10


def clip(path: Path, place: film.Place | None, seconds: float, other: film.Place | None = None) -> Path:
    """The astronaut at ten frames a second; None where nobody is seen."""
    times = [i / FPS for i in range(round(seconds * FPS))]
    places = [[at(t) for at in (place, other) if at is not None] for t in times]
    return film.write(path, [film.picture((480, 360), each) for each in places], times)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("persons")


@pytest.fixture(scope="module")
def enrolment(folder: Path) -> Enrolment:
    shown = clip(folder / "enrol.mp4", lambda t: (240.0 + 5 * t, 180.0, 120.0, 2 * t), 5.0)
    return enrol(ONE_PROCESS, SourceConfig(path=str(shown)))


@pytest.fixture(scope="module")
def other(folder: Path) -> Path:
    """Another clip of the same face, smaller and tilted."""
    return clip(folder / "other.mp4", lambda t: (150.0 + 60 * t, 170.0, 100.0, -4 * t), 2.0)


@pytest.fixture
def gallery(tmp_path: Path, enrolment: Enrolment, monkeypatch: pytest.MonkeyPatch) -> PipelineConfig:
    """A configuration whose gallery knows the astronaut."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("RTAU_GALLERY_PASSPHRASE", "quick brown fox")
    path = tmp_path / "people.db"
    with Gallery(path, Secret(passphrase="quick brown fox"), enrolment.identity_model, create=True) as made:
        made.add([profile("eileen", enrolment)])
    return msgspec.structs.replace(ONE_PROCESS, persons=PersonsConfig(gallery=str(path)))


def profile(name: str, found: Enrolment, **changes: object) -> Profile:
    made = Profile(name=name, embeddings=(to_bytes(found.embedding),), enrolled=("2026-11-26",), neutral=found.neutral)
    return msgspec.structs.replace(made, **changes)


def opened(config: PipelineConfig) -> Gallery:
    assert config.persons.gallery is not None
    return Gallery(Path(config.persons.gallery), Secret(passphrase="quick brown fox"), None)


def untimed(frame: AUFrame) -> AUFrame:
    return msgspec.structs.replace(frame, t_capture_ns=0, wall_capture_ns=0)


def names(frames: list[AUFrame]) -> list[str | None]:
    return [face.person_id for frame in frames for face in frame.faces]


@pytest.mark.parametrize(("decoder", "gpu"), [("nvdec", 0), ("cpu", None)])
def test_an_enrolment_decodes_as_the_configuration_says(
    monkeypatch: pytest.MonkeyPatch, decoder: str, gpu: int | None
) -> None:
    """On a machine with a GPU; the networks run on the CPU here."""
    asked: list[SourceConfig] = []

    def opened(source: SourceConfig) -> Decode:
        asked.append(source)
        raise SourceError("enough")

    monkeypatch.setattr("rtau.pipeline.on_gpu", lambda config: True)
    monkeypatch.setattr("rtau.enrol.Decode", opened)
    with pytest.raises(SourceError, match="enough"):
        enrol(msgspec.structs.replace(ONE_PROCESS, decoder=decoder), SourceConfig(path="clip.mp4"))
    assert [source.nvdec for source in asked] == [gpu]


def test_an_enrolment_without_the_gpu_that_its_decoder_needs_is_refused() -> None:
    config = msgspec.structs.replace(ONE_PROCESS, device="cpu", decoder="nvdec")
    with pytest.raises(DeviceError, match="decoder nvdec: openvino-cpu runs, not a GPU; use decoder: cpu"):
        enrol(config, SourceConfig(path="clip.mp4"))


def test_an_enrolment_finds_the_person_and_the_resting_face(enrolment: Enrolment) -> None:
    assert enrolment.looks >= 10
    assert np.linalg.norm(enrolment.embedding) == pytest.approx(1)
    assert enrolment.neutral is not None
    assert enrolment.neutral.left[enrolment.aus.index("AU12")] > 1  # she smiles all the time


def test_she_is_named_in_another_clip_and_her_baseline_is_used(other: Path, gallery: PipelineConfig) -> None:
    frames = list(journey(gallery, SourceConfig(path=str(other))))
    assert set(names(frames[10:])) == {"eileen"}
    last = frames[-1].faces[0]
    assert last.baseline == "fixed"
    assert last.calibrated is not None
    assert last.calibrated_left is not None
    assert last.calibrated_right is not None
    smile = frames[-1].aus.index("AU12")
    assert last.intensity[smile] > 2
    assert last.calibrated[smile] < last.intensity[smile] - 1  # her smile is what her enrolment showed
    assert last.calibrated == [max(pair) for pair in zip(last.calibrated_left, last.calibrated_right, strict=True)]
    for p, r in zip(last.occurrence, last.calibrated, strict=True):
        assert (p >= 0.5) == (r >= 1)


def test_processes_give_the_same_persons_bit_for_bit(other: Path, gallery: PipelineConfig) -> None:
    source = SourceConfig(path=str(other))
    alone = [untimed(frame) for frame in journey(gallery, source)]
    with open_run(msgspec.structs.replace(gallery, runtime=RuntimeConfig()), source) as run:
        together = [untimed(frame) for frame in run]
    assert together == alone
    assert "identity" in run.info.weights
    assert (run.info.gallery, run.info.baseline) == (True, "online")


def test_without_a_gallery_nobody_is_named_and_nothing_is_written(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    frames = list(journey(ONE_PROCESS, SourceConfig(path=str(other))))
    assert set(names(frames)) == {None}
    assert list(tmp_path.iterdir()) == []


def test_a_run_reads_the_gallery_and_changes_nothing_in_it(other: Path, gallery: PipelineConfig) -> None:
    assert gallery.persons.gallery is not None
    path = Path(gallery.persons.gallery)
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    list(journey(gallery, SourceConfig(path=str(other))))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, stamp)
    assert sorted(os.listdir(path.parent)) == ["people.db"]


def test_a_stranger_is_not_named_and_has_a_baseline_of_this_run_only(
    other: Path, gallery: PipelineConfig, enrolment: Enrolment
) -> None:
    with opened(gallery) as kept:
        kept.forget("eileen")
        stranger = np.random.default_rng(0).normal(size=len(enrolment.embedding)).astype(np.float32)
        kept.add([profile("nobody here", msgspec.structs.replace(enrolment, embedding=stranger))])
    frames = list(journey(gallery, SourceConfig(path=str(other))))
    assert set(names(frames)) == {None}
    assert {face.baseline for frame in frames for face in frame.faces} <= {"none", "warming"}


def test_who_leaves_and_comes_back_has_another_track_and_the_same_name(tmp_path: Path, gallery: PipelineConfig) -> None:
    times = [i / FPS for i in range(50)]
    here = lambda t: [(240.0, 180.0, 110.0, 0.0)] if t < 1.5 or t >= 3.5 else []  # noqa: E731
    path = film.write(tmp_path / "back.mp4", [film.picture((480, 360), here(t)) for t in times], times)
    frames = list(journey(gallery, SourceConfig(path=str(path))))
    seen = {face.track_id: face.person_id for frame in frames for face in frame.faces}
    assert seen == {1: "eileen", 2: "eileen"}


def test_two_faces_of_one_person_share_no_name(tmp_path: Path, gallery: PipelineConfig) -> None:
    twins = clip(
        tmp_path / "twins.mp4", lambda t: (130.0, 180.0, 100.0, 0.0), 2.0, lambda t: (350.0, 180.0, 100.0, 0.0)
    )
    frames = list(journey(gallery, SourceConfig(path=str(twins))))
    assert {len(frame.faces) for frame in frames[2:]} == {2}
    for frame in frames[10:]:
        assert sorted(names([frame]), key=str) == [None, "eileen"]


def seen_by(config: PipelineConfig, path: Path) -> Callable[[str, int], Seen]:
    """Frames of a clip as the stage sees them, under any source's name."""
    faces, aus = Faces(config), AUs(config)
    kept: list[tuple[object, ...]] = []
    decode = Decode(SourceConfig(path=str(path)))
    first = next(iter(decode))
    found = faces(first)
    kept.append((first.picture, found, aus([(first.picture, found)])[0]))

    def at(source: str, frame: int) -> Seen:
        picture, some, estimates = kept[0]
        return Seen(source, frame / FPS, picture, some, estimates)  # type: ignore[arg-type]

    return at


def test_one_name_for_one_face_over_all_sources_and_none_after_forgetting(other: Path, gallery: PipelineConfig) -> None:
    persons, at = Persons(gallery, AUs(gallery).card), seen_by(gallery, other)
    for source in ("door", "desk"):
        persons.open(source)
    for frame in range(20):
        told = [each.person_ids for each in persons([at("door", frame), at("desk", frame)])]
    assert told == [["eileen"], [None]]
    persons.close("door")
    for frame in range(20, 60):
        (desk,) = persons([at("desk", frame)])
    assert desk.person_ids == ["eileen"]
    with opened(gallery) as kept:
        kept.rename("eileen", "commander")
    assert persons([at("desk", 60)])[0].person_ids == ["commander"]
    with opened(gallery) as kept:
        kept.forget("commander")
    assert persons([at("desk", 61)])[0].person_ids == [None]


def test_what_a_run_learns_of_a_person_follows_her_and_goes_when_she_is_forgotten(
    other: Path, gallery: PipelineConfig, enrolment: Enrolment
) -> None:
    with opened(gallery) as kept:
        kept.update("eileen", lambda before: profile("eileen", enrolment, neutral=None))
    persons, at = Persons(gallery, AUs(gallery).card), seen_by(gallery, other)
    for frame in range(100):
        (door,) = persons([at("door", frame)])
    assert (door.person_ids, door.states) == (["eileen"], ["ready"])
    persons.close("door")
    for frame in range(3):
        (desk,) = persons([at("desk", frame)])
    assert (desk.person_ids, desk.states) == (["eileen"], ["ready"])  # in another picture, without waiting
    with opened(gallery) as kept:
        kept.forget("eileen")
    (desk,) = persons([at("desk", 3)])
    assert (desk.person_ids, desk.states) == ([None], ["warming"])
    assert persons._of_person == {}


def test_a_baseline_of_other_au_weights_is_not_used(other: Path, gallery: PipelineConfig, enrolment: Enrolment) -> None:
    assert enrolment.neutral is not None
    foreign: Neutral = msgspec.structs.replace(enrolment.neutral, au_model="0" * 64)
    with opened(gallery) as kept:
        kept.update("eileen", lambda before: profile("eileen", enrolment, neutral=foreign))
    frames = list(journey(gallery, SourceConfig(path=str(other))))
    assert names(frames)[-1] == "eileen"
    assert frames[-1].faces[0].baseline == "warming"


def test_the_online_baseline_warms_up_and_never_looks_ahead(tmp_path: Path) -> None:
    long = clip(tmp_path / "long.mp4", lambda t: (240.0 + 4 * t, 180.0, 110.0, 0.0), 9.0)
    whole = list(journey(ONE_PROCESS, SourceConfig(path=str(long))))
    part = list(journey(ONE_PROCESS, SourceConfig(path=str(long), end_s=8.0)))
    assert [untimed(frame) for frame in part] == [untimed(frame) for frame in whole[: len(part)]]
    states = [frame.faces[0].baseline for frame in whole]
    assert states[0] == "warming"
    assert states[-1] == "ready"
    assert states == sorted(states, key=("none", "warming", "ready").index)
    confidence = [frame.faces[0].baseline_confidence for frame in whole]
    assert confidence[-1] > confidence[10] > confidence[0] > 0
    ready = states.index("ready")
    assert whole[ready].faces[0].calibrated is not None
    assert whole[ready - 1].faces[0].calibrated is None


def test_two_pass_calibrates_from_the_first_frame_and_says_so(tmp_path: Path, gallery: PipelineConfig) -> None:
    long = clip(tmp_path / "long.mp4", lambda t: (240.0 + 4 * t, 180.0, 110.0, 0.0), 8.0)
    job = Job(source=str(long), out=tmp_path / "aus.csv", config=ONE_PROCESS, two_pass=True)
    run_job(job)
    with (tmp_path / "aus.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["baseline"] for row in rows} == {"ready"}
    assert len({row["baseline_confidence"] for row in rows}) == 1
    assert all(row["AU12_n"] for row in rows)
    meta = json.loads((tmp_path / "aus.csv.meta.json").read_bytes())
    assert (meta["baseline"], meta["gallery"]) == ("two_pass", False)

    assert gallery.persons.gallery is not None
    named = msgspec.structs.replace(job, out=tmp_path / "named.csv", gallery=Path(gallery.persons.gallery))
    run_job(named)
    with (tmp_path / "named.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["person_id"], row["baseline"]) for row in rows} == {("eileen", "fixed")}
    assert sorted(path.name for path in tmp_path.glob("*.part")) == []


def test_a_calibrated_probability_is_one_half_where_the_intensity_is_1() -> None:
    sides = np.array([[2.0, 0.5, 1.02], [1.0, 0.2, 0.3]], np.float32)
    p = np.array([0.9, 0.2, 0.51], np.float32)
    np.testing.assert_allclose(occurrence_at(p, sides, sides)[:2], p[:2], atol=1e-6)
    np.testing.assert_allclose(occurrence_at(p, sides, np.ones_like(sides)), 0.5)
    lower = occurrence_at(p, sides, sides - 0.2)
    assert (lower < p).all()


def test_clips_that_do_not_serve_are_refused(tmp_path: Path) -> None:
    nobody = film.write(tmp_path / "no.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 10, [i / 10 for i in range(10)])
    with pytest.raises(GalleryError, match="only 0 good views of a face"):
        enrol(ONE_PROCESS, SourceConfig(path=str(nobody)))
    two = clip(tmp_path / "two.mp4", lambda t: (130.0, 180.0, 100.0, 0.0), 1.5, lambda t: (350.0, 180.0, 100.0, 0.0))
    with pytest.raises(GalleryError, match="show several faces"):
        enrol(ONE_PROCESS, SourceConfig(path=str(two)))
