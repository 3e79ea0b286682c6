from pathlib import Path

import numpy as np
import pytest

from tests.train.data.corpora.trees import made_up, write_picture
from train.data.corpora.index import CorpusError, folds, read_index, write_index
from train.data.corpora.protocols import PROTOCOLS


def _indexed(folder: Path) -> Path:
    corpus = made_up(2, 3)._replace(root=folder / "pictures")
    corpus.occurrence[0, 1] = -1
    for path in corpus.paths:
        write_picture(corpus.root / path, np.zeros((8, 8, 3), np.uint8))
    write_index(corpus, folder)
    return folder


def test_an_index_gives_back_what_was_written(tmp_path: Path) -> None:
    read, wanted = read_index(_indexed(tmp_path)), made_up(2, 3)
    wanted.occurrence[0, 1] = -1
    assert (read.name, read.aus, read.paths) == (wanted.name, wanted.aus, wanted.paths)
    for name in ("subject", "session", "frame", "occurrence", "intensity"):
        column, expected = getattr(read, name), getattr(wanted, name)
        np.testing.assert_array_equal(column, expected)
        assert column.dtype == expected.dtype
    np.testing.assert_array_equal(read.text["activity"], wanted.text["activity"])
    assert all((read.root / path).is_file() for path in read.paths)


def test_an_index_can_be_moved_with_its_pictures(tmp_path: Path) -> None:
    _indexed(tmp_path / "a").rename(tmp_path / "b")
    assert len(read_index(tmp_path / "b").paths) == 6


def test_missing_pictures_are_named(tmp_path: Path) -> None:
    (_indexed(tmp_path) / "pictures" / "1" / "2.jpg").unlink()
    with pytest.raises(CorpusError, match=r"1 of 6 pictures are missing: 1/2\.jpg"):
        read_index(tmp_path)


def test_a_changed_table_and_another_version_are_refused(tmp_path: Path) -> None:
    folder = _indexed(tmp_path)
    header = folder / "index.yaml"
    header.write_text(header.read_text().replace("version: 1", "version: 0"))
    with pytest.raises(CorpusError, match="version 0, expected 1"):
        read_index(folder)
    _indexed(folder)
    with (folder / "index.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(CorpusError, match=r"index\.parquet: changed"):
        read_index(folder)
    with pytest.raises(CorpusError, match="no index"):
        read_index(tmp_path / "elsewhere")


def test_columns_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    corpus = made_up(2, 3)
    with pytest.raises(ValueError, match="occurrence must be -1, 0 or 1"):
        write_index(corpus._replace(occurrence=corpus.occurrence + 5), tmp_path)
    with pytest.raises(ValueError, match=r"session must be \(6,\), got \(5,\)"):
        write_index(corpus._replace(session=corpus.session[1:]), tmp_path)


@pytest.mark.parametrize(
    ("protocol", "name", "subjects", "sizes"),
    [
        ("bp4d-3fold", "BP4D", 41, [13, 14, 14]),
        ("disfa-3fold", "DISFA", 27, [9, 9, 9]),
        ("bp4dplus-4fold", "BP4D+", 140, [35, 35, 35, 35]),
    ],
)
def test_published_folds_test_every_subject_once(protocol: str, name: str, subjects: int, sizes: list[int]) -> None:
    people = sorted(who for part in PROTOCOLS[protocol].parts for who in part)
    assert len(set(people)) == len(people) == subjects
    corpus = made_up(subjects, 2, name=name)
    corpus = corpus._replace(subject=np.repeat(np.array([f"{name}:{who}" for who in people]), 2))
    found = folds(corpus, protocol)
    assert [len(fold.test) // 2 for fold in found] == sizes
    for fold in found:
        assert not set(corpus.subject[fold.train]) & set(corpus.subject[fold.test])
        assert len(fold.train) + len(fold.test) == len(corpus.paths)
    tested = np.concatenate([fold.test for fold in found])
    assert sorted(tested.tolist()) == list(range(len(corpus.paths)))


def test_fold_1_trains_on_parts_1_and_2() -> None:
    corpus = made_up(3, 1, name="BP4D")._replace(subject=np.array(["BP4D:F001", "BP4D:F003", "BP4D:F004"]))
    first, second, third = folds(corpus, "bp4d-3fold")
    assert (first.name, first.train.tolist(), first.test.tolist()) == ("fold1", [0, 1], [2])
    assert (second.test.tolist(), third.test.tolist()) == ([1], [0])


def test_folds_say_what_does_not_fit() -> None:
    corpus = made_up(3, 1, name="BP4D")._replace(subject=np.array(["BP4D:F001", "BP4D:F099", "BP4D:F004"]))
    with pytest.raises(CorpusError, match="in no part of bp4d-3fold: F099"):
        folds(corpus, "bp4d-3fold")
    with pytest.raises(CorpusError, match="fold2 of bp4d-3fold has no frame to test"):
        folds(corpus._replace(subject=np.array(["BP4D:F001", "BP4D:F002", "BP4D:F004"])), "bp4d-3fold")
    with pytest.raises(CorpusError, match=r"a protocol of BP4D, not of BP4D\+"):
        folds(corpus._replace(name="BP4D+"), "bp4d-3fold")
    with pytest.raises(CorpusError, match="no partition of its own"):
        folds(corpus, "split")
    with pytest.raises(ValueError, match="protocol must be one of"):
        folds(corpus, "5-fold")


def test_subject_folds_are_the_same_everywhere_and_share_nobody() -> None:
    corpus = made_up(10, 4)
    found = folds(corpus, "subjects-3")
    assert [len(fold.test) for fold in found] == [16, 12, 12]
    assert sorted(np.concatenate([fold.test for fold in found]).tolist()) == list(range(40))
    assert sorted(set(corpus.subject[found[0].test])) == [f"made-up:{who}" for who in "0367"]
    for fold in found:
        assert not set(corpus.subject[fold.train]) & set(corpus.subject[fold.test])
    with pytest.raises(CorpusError, match="needs 2 to 10 folds"):
        folds(corpus, "subjects-11")


def test_a_corpus_with_a_partition_is_split_by_it() -> None:
    corpus = made_up(2, 2)._replace(text={"part": np.array(["train", "validation", "test", "train"])})
    (fold,) = folds(corpus, "split")
    assert (fold.train.tolist(), fold.test.tolist()) == ([0, 3], [2])
