"""Live sources over real processes: what comes is what was captured."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from calibration.gallery import Gallery, Secret
from calibration.profile import Profile, to_bytes
from rtau.config import AUConfig, PersonsConfig, PipelineConfig, SourceConfig
from rtau.enrol import enrol
from rtau.errors import SourceError
from rtau.live import Live
from rtau.messages import AUFrame, Event, Health, Message, RunHealth
from rtau.pipeline import journey
from tests.rtau.live.following import QUICK, follow, frames, kinds


def untimed(frame: AUFrame) -> AUFrame:
    return msgspec.structs.replace(frame, t_capture_ns=0, wall_capture_ns=0, t_publish_ns=0, seq=0)


def assert_alike(one: object, other: object) -> None:
    """Equal but for the last bits of numbers: of a file, four frames go through the AU network at once."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list) and isinstance(other, list):
        for part, same in zip(one, other, strict=True):
            assert_alike(part, same)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-4)
    else:
        assert one == other


def in_builtins(told: Iterable[AUFrame]) -> list[object]:
    return [msgspec.json.decode(msgspec.json.encode(untimed(frame))) for frame in told]


def test_live_frames_equal_those_of_the_file(clip: Path) -> None:
    live, heard = follow([SourceConfig(path=str(clip))])
    filed = journey(PipelineConfig(), SourceConfig(path=str(clip)))
    assert_alike(in_builtins(frames(heard)), in_builtins(filed))
    assert (live.counts["0"].captured, live.counts["0"].dropped) == (30, 0)
    assert kinds(heard) == ["track_started", "track_ended", "source_ended"]


def test_two_sources_that_share_batches_give_what_each_gives_alone(clip: Path) -> None:
    config = PipelineConfig(au=AUConfig(max_wait_ms=50))
    _, heard = follow([SourceConfig(path=str(clip), source_id=name) for name in "ab"], config=config)
    alone = list(journey(PipelineConfig(), SourceConfig(path=str(clip))))
    for name in "ab":
        together = frames(heard, name)
        assert [(f.frame_index, f.time_s, f.reason) for f in together] == [
            (f.frame_index, f.time_s, f.reason) for f in alone
        ]
        for one, among in zip(alone, together, strict=True):
            for face, same in zip(one.faces, among.faces, strict=True):
                assert (face.track_id, face.box, face.pose) == (same.track_id, same.box, same.pose)
                assert same.intensity == pytest.approx(face.intensity, abs=1e-3)
                assert same.occurrence == pytest.approx(face.occurrence, abs=1e-3)


def test_captured_is_published_and_dropped_when_the_source_is_too_fast(clip: Path) -> None:
    source = SourceConfig(path=str(clip), policy="newest", loop=True)  # as fast as it decodes

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, AUFrame) and message.seq == 40:
            live.stop()

    live, heard = follow([source], hear)
    counts, seen = live.counts["0"], frames(heard)
    last = [message for message in heard if isinstance(message, Health)][-1]
    assert counts.dropped > 0
    assert counts.captured == counts.published + counts.dropped
    assert counts.published == len(seen)
    assert (last.captured, last.published, sum(last.dropped.values())) == (counts.captured, len(seen), counts.dropped)
    gaps = sum(b.frame_index - a.frame_index - 1 for a, b in itertools.pairwise(seen))
    told = sum(m.count or 0 for m in heard if isinstance(m, Event) and m.kind == "frames_dropped")
    assert gaps + seen[0].frame_index <= told == counts.dropped  # the last ones have no frame after them
    ages = sorted(f.t_publish_ns - f.t_capture_ns for f in seen[5:])
    assert ages[len(ages) // 2] < 1e9  # the newest frame, not a queue


def test_sources_come_and_go_while_the_others_are_followed(clip: Path) -> None:
    first, second = (SourceConfig(path=str(clip), source_id=n, realtime=True, loop=True, policy="newest") for n in "01")

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, AUFrame) and message.source_id == "0" and message.seq == 10:
            live.add(second)
        if isinstance(message, AUFrame) and message.source_id == "1" and message.seq == 10:
            live.remove("0")
        if isinstance(message, Event) and (message.source_id, message.kind) == ("0", "source_ended"):
            after.append(message.t_ns)
        if after and isinstance(message, AUFrame) and message.t_capture_ns > after[0] + 3e8:
            live.remove("1")

    after: list[int] = []
    _, heard = follow([first], hear)
    assert [m.text for m in heard if isinstance(m, Event) and m.kind == "source_ended"] == ["stopped"] * 2
    assert max(f.t_capture_ns for f in frames(heard, "0")) < after[0] < frames(heard, "1")[-1].t_capture_ns


def test_a_source_that_is_added_again_takes_the_place_of_the_old_one(clip: Path) -> None:
    old = SourceConfig(path=str(clip), realtime=True, loop=True, policy="newest")

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, AUFrame) and message.frame_index > 4 and not asked:
            asked.append(message.frame_index)
            live.add(SourceConfig(path=str(clip)))

    asked: list[int] = []
    live, heard = follow([old], hear)
    assert [m.text for m in heard if isinstance(m, Event) and m.kind == "source_ended"] == ["stopped", "no more frames"]
    new = frames(heard)[-30:]
    assert [(frame.frame_index, frame.seq) for frame in new] == [(i, i) for i in range(30)]
    assert (live.counts["0"].captured, live.counts["0"].dropped) == (30, 0)


def test_latency_by_stage_adds_up(clip: Path) -> None:
    _, heard = follow([SourceConfig(path=str(clip), realtime=True)])
    told = [m.latency_ms for m in heard if isinstance(m, Health) and m.latency_ms][-1]
    assert list(told) == ["queue", "faces", "au_queue", "au", "publish", "total"]
    assert all(0 <= span.p50 <= span.p99 for span in told.values())
    assert told["faces"].p50 + told["au"].p50 < told["total"].p99


def test_a_missing_file_ends_its_source_only(clip: Path) -> None:
    live, heard = follow([SourceConfig(path="nowhere.mp4", source_id="a"), SourceConfig(path=str(clip), source_id="b")])
    assert kinds(heard, "a") == ["source_ended"]
    assert isinstance(live.counts["a"].problem, SourceError)
    assert len(frames(heard, "b")) == 30


@pytest.mark.parametrize("gpu", [False, True])
def test_a_live_person_is_announced_and_the_frames_are_those_of_the_file(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool
) -> None:
    """Also with the processes of a GPU; the networks run on the CPU here."""
    monkeypatch.setattr("rtau.pipeline.on_gpu", lambda config: gpu)
    monkeypatch.setenv("RTAU_GALLERY_PASSPHRASE", "quick brown fox")
    found = enrol(QUICK, SourceConfig(path=str(clip)))
    eileen = Profile(name="eileen", embeddings=(to_bytes(found.embedding),), enrolled=("2026-11-26",))
    with Gallery(
        tmp_path / "people.db", Secret(passphrase="quick brown fox"), found.identity_model, create=True
    ) as made:
        made.add([eileen])
    config = msgspec.structs.replace(QUICK, persons=PersonsConfig(gallery=str(tmp_path / "people.db")))
    _, heard = follow([SourceConfig(path=str(clip))], config=config)
    assert_alike(in_builtins(frames(heard)), in_builtins(journey(config, SourceConfig(path=str(clip)))))
    told = [m for m in heard if isinstance(m, Event) and m.kind == "person_recognised"]
    assert [(event.person_id, event.track_id) for event in told] == [("eileen", 1)]
    assert frames(heard)[-1].faces[0].person_id == "eileen"


def test_the_processes_of_a_gpu_drop_and_count_as_others_do(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces and AUs in one process for both sources; the networks run on the CPU here."""
    monkeypatch.setattr("rtau.pipeline.on_gpu", lambda config: True)
    lossy = SourceConfig(path=str(clip), source_id="lossy", realtime=True, policy="newest")
    live, heard = follow([lossy, SourceConfig(path=str(clip), source_id="file")])
    assert len(frames(heard, "file")) == 30
    counts = live.counts["lossy"]
    assert (counts.captured, counts.published) == (30, len(frames(heard, "lossy")))
    assert counts.published > 0
    told = [m for m in heard if isinstance(m, RunHealth)][-1]
    assert {p.name for p in told.processes} >= {"publisher", "faces_au"}
    latencies = [m.latency_ms for m in heard if isinstance(m, Health) and m.latency_ms]
    assert list(latencies[-1]) == ["queue", "faces_au", "publish", "total"]
