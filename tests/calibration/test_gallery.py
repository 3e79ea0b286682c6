"""Persons on disk: found again, sealed, really forgotten; whole under two processes and after a kill."""

import multiprocessing
import os
import signal
import sqlite3
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.gallery import Gallery, Index, Secret, needs_passphrase
from calibration.profile import Profile
from tests.calibration.made_up import MODEL, SECRET, direction, gallery, neutral, person


def names(path: Path) -> list[str]:
    with Gallery(path, SECRET, MODEL) as opened:
        return [each.name for each in opened.persons()]


def test_persons_are_there_again_with_all_that_was_kept(tmp_path: Path) -> None:
    alice = person("alice", direction(1), direction(2), neutral=neutral())
    with Gallery(tmp_path / "people.db", SECRET, MODEL, create=True) as made:
        made.update("alice", lambda before: alice)
    with Gallery(tmp_path / "people.db", SECRET, MODEL) as opened:
        assert opened.persons() == [alice]
        assert opened.identity_model == MODEL
        np.testing.assert_array_equal(opened.persons()[0].matrix(), np.stack([direction(1), direction(2)]))


def test_the_file_is_private_and_shows_nobody(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    gallery(path, "alice", "bob").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert b"alice" not in content
    assert person("alice").embeddings[0] not in content
    path.chmod(0o644)
    assert names(path) == ["alice", "bob"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # whoever copied it carelessly


def test_only_the_key_it_was_made_with_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    gallery(path, "alice").close()
    with pytest.raises(CalibrationError, match="this key file does not open it"):
        Gallery(path, Secret(key=bytes(32)), MODEL)
    with pytest.raises(CalibrationError, match="made with a key file"):
        Gallery(path, Secret(passphrase="x"), MODEL)
    assert needs_passphrase(path) is False


def test_a_passphrase_opens_what_a_passphrase_sealed(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    assert needs_passphrase(path) is None
    gallery(path, "alice", secret=Secret(passphrase="open sesame")).close()
    assert needs_passphrase(path) is True
    with Gallery(path, Secret(passphrase="open sesame"), MODEL) as opened:
        assert [each.name for each in opened.persons()] == ["alice"]
    with pytest.raises(CalibrationError, match="this passphrase does not open it"):
        Gallery(path, Secret(passphrase="open sesam"), MODEL)
    with pytest.raises(CalibrationError, match="needs its passphrase"):
        Gallery(path, Secret(key=bytes(32)), MODEL)


def test_embeddings_of_another_model_are_refused(tmp_path: Path) -> None:
    gallery(tmp_path / "people.db", "alice").close()
    with pytest.raises(CalibrationError, match="of identity model abababab, this run uses efefefef"):
        Gallery(tmp_path / "people.db", SECRET, "ef" * 32)
    with Gallery(tmp_path / "people.db", SECRET, None) as opened:  # to look after it no model is needed
        assert [each.name for each in opened.persons()] == ["alice"]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_another_file_is_no_gallery(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "people.db"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match="is not a gallery"):
        Gallery(path, SECRET, None)
    with pytest.raises(CalibrationError, match="no such gallery"):
        Gallery(tmp_path / "none.db", SECRET, MODEL)
    with pytest.raises(CalibrationError, match="choose another place"):
        Gallery(tmp_path / "no" / "where.db", SECRET, MODEL, create=True)


@pytest.mark.parametrize("version", [0, 1, 77])
def test_a_database_of_another_program_stays_as_it_is(tmp_path: Path, version: int) -> None:
    path = tmp_path / "history.db"
    with sqlite3.connect(path) as raw:
        raw.execute("create table visits (address text)")
        raw.execute(f"pragma user_version = {version}")
    raw.close()
    path.chmod(0o644)
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(CalibrationError, match=r"history.db: is not a gallery, .*another program's database"):
            Gallery(path, SECRET, MODEL, create=create)
    with pytest.raises(CalibrationError, match="is not a gallery"):
        needs_passphrase(path)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_only_create_makes_a_gallery_of_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    path.touch(0o644)
    with pytest.raises(CalibrationError, match="is not a gallery; `rtau gallery enroll NAME CLIP` makes one"):
        Gallery(path, SECRET, MODEL)
    assert path.stat().st_size == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    gallery(path, "alice").close()
    assert names(path) == ["alice"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_forgotten_is_in_no_file_any_more(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with gallery(path, "alice", "bob", "carol") as opened:
        with sqlite3.connect(path) as raw:
            sealed = [bytes(record) for (record,) in raw.execute("select record from person order by id")]
        raw.close()
        assert sealed[1] in path.read_bytes()
        size = path.stat().st_size
        opened.forget("bob")
        left = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # with journal and log, if there were any
        assert sealed[1][:64] not in left
        assert sealed[1][-64:] not in left
        assert sealed[0] in left
        assert path.stat().st_size <= size
        assert [each.name for each in opened.persons()] == ["alice", "carol"]
        with pytest.raises(CalibrationError, match="bob is not in it"):
            opened.forget("bob")


def test_rename_and_merge(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with gallery(path, "alice", "bob") as opened:
        uid = opened.persons()[0].uid
        opened.rename("alice", "ada")
        assert {each.name: each.uid for each in opened.persons()}["ada"] == uid
        with pytest.raises(CalibrationError, match="bob is there already"):
            opened.rename("ada", "bob")
        both = opened.merge("ada", "bob")
        assert (both.name, both.uid, len(both.embeddings)) == ("ada", uid, 2)
        assert opened.persons() == [both]
        with pytest.raises(CalibrationError, match="with itself"):
            opened.merge("ada", "ada")


def test_adding_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with gallery(path, "alice") as opened:
        with pytest.raises(CalibrationError, match="alice is there already"):
            opened.add([person("dora"), person("alice")])
        assert [each.name for each in opened.persons()] == ["alice"]


def test_another_process_writes_and_this_one_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with gallery(path, "alice") as here, Gallery(path, SECRET, MODEL) as there:
        assert not here.changed()
        there.forget("alice")
        assert here.changed()
        assert not here.changed()
        assert here.persons() == []
        there._connection.execute("begin exclusive")  # in the middle of a write
        asked = time.perf_counter()
        assert not here.changed()
        assert time.perf_counter() - asked < 1  # a stream cannot wait
        there._connection.execute("rollback")


def test_a_record_that_was_tampered_with_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    gallery(path, "alice", "bob").close()
    with sqlite3.connect(path) as raw:
        raw.execute("update person set record = (select record from person where id = 2) where id = 1")
    raw.close()
    with pytest.raises(CalibrationError, match="does not open"):
        names(path)


def _enrol_many(path: Path, first: int, count: int) -> None:
    with Gallery(path, SECRET, MODEL, create=True) as opened:
        for i in range(first, first + count):
            opened.add([person(f"person {i}")])


def test_two_processes_enrol_at_once_and_nobody_is_lost(tmp_path: Path) -> None:
    path, context = tmp_path / "people.db", multiprocessing.get_context("spawn")
    both = [context.Process(target=_enrol_many, args=(path, 100 * n, 15)) for n in (1, 2)]
    for process in both:
        process.start()  # the file does not exist yet: both want to make it
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert len(names(path)) == 30


def _enrol_for_ever(path: Path) -> None:
    with Gallery(path, SECRET, MODEL, create=True) as opened:
        while True:
            opened.update("alice", lambda before: _grown(before))
            opened.update("bob", lambda before: person("bob"))
            opened.forget("bob")


def _grown(before: Profile | None) -> Profile:
    return person("alice") if before is None or len(before.embeddings) > 20 else before.merged(person("alice"))


def test_a_killed_process_leaves_a_whole_gallery(tmp_path: Path) -> None:
    path, context = tmp_path / "people.db", multiprocessing.get_context("spawn")
    gallery(path, "alice").close()
    for moment_s in (0.0, 0.013, 0.031):
        before = path.stat().st_mtime_ns
        process = context.Process(target=_enrol_for_ever, args=(path,))
        process.start()
        while path.stat().st_mtime_ns == before:
            time.sleep(0.001)
        time.sleep(moment_s)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert names(path) in (["alice"], ["alice", "bob"])
        with sqlite3.connect(path) as raw:
            assert raw.execute("pragma integrity_check").fetchone() == ("ok",)
        raw.close()


def test_search_is_exact_and_takes_the_nearest_embedding_of_each() -> None:
    rng = np.random.default_rng(0)
    persons = [person(f"p{i}", *(direction(1000 * i + k) for k in range(int(rng.integers(1, 4))))) for i in range(300)]
    index, asked = Index(persons), direction(7)
    plain = [max(float(e @ asked) for e in each.matrix()) for each in persons]
    np.testing.assert_allclose(index.cosines(asked), plain, atol=1e-6)
    assert Index([]).cosines(asked).shape == (0,)
    with pytest.raises(ValueError, match="embedding must be"):
        index.cosines(asked[:64])
