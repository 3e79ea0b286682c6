from pathlib import Path

import numpy as np
import pytest

from tests.train.data.corpora.trees import face, write_picture, write_text
from train.data.corpora import lists
from train.data.corpora.index import CorpusError, folds

PEOPLE = {1: "F001", 2: "F003", 3: "F004"}  # one of each part
TESTED = {1: 3, 2: 2, 3: 1}


def _tree(root: Path, suffix: str = "") -> Path:
    def label(path: str) -> str:
        return " ".join(["1", *["0"] * 10, "1" if "T2" in path else "0"])

    paths = {part: [f"{who}/{task}/{n}.jpg" for task in ("T1", "T2") for n in (7, 10)] for part, who in PEOPLE.items()}
    for own in paths.values():
        for path in own:
            write_picture(root / f"img{suffix}" / path, face(0, (256, 256)))
    for k, tested in TESTED.items():
        for side, parts in (("train", [part for part in PEOPLE if part != tested]), ("test", [tested])):
            listed = [path for part in parts for path in paths[part]]
            write_text(root / f"list{suffix}" / f"BP4D_{side}_img_path_fold{k}.txt", listed)
            write_text(root / f"list{suffix}" / f"BP4D_{side}_label_fold{k}.txt", [label(path) for path in listed])
    return root / f"list{suffix}"


@pytest.mark.parametrize("suffix", ["", "_256x256"])
def test_both_layouts_give_the_corpus_and_the_published_folds(tmp_path: Path, suffix: str) -> None:
    _tree(tmp_path, suffix)
    reading = lists.read_bp4d(tmp_path)
    corpus = reading.corpus
    assert reading.problems == []
    assert corpus.root == tmp_path / f"img{suffix}"
    assert corpus.paths[:3] == ["F001/T1/7.jpg", "F001/T1/10.jpg", "F001/T2/7.jpg"]
    assert corpus.occurrence[:, 0].tolist() == [1] * 12
    np.testing.assert_array_equal(corpus.occurrence[:4, 11], [0, 0, 1, 1])
    assert [set(corpus.subject[fold.test].tolist()) for fold in folds(corpus, "bp4d-3fold")] == [
        {f"BP4D:{PEOPLE[TESTED[k]]}"} for k in (1, 2, 3)
    ]


def test_lists_that_disagree_are_named(tmp_path: Path) -> None:
    folder = _tree(tmp_path)
    labels = folder / "BP4D_test_label_fold1.txt"
    lines = labels.read_text().splitlines()
    write_text(labels, ["0 " + lines[0][2:], "5 " + lines[1][2:], "0 1", lines[3]])
    write_text(folder / "BP4D_train_label_fold2.txt", lines[:2])
    (folder / "BP4D_train_img_path_fold3.txt").unlink()
    for what in ("img_path", "label"):  # the parts taken for the folds
        (folder / f"BP4D_test_{what}_fold2.txt").write_text((folder / f"BP4D_test_{what}_fold3.txt").read_text())
    assert set(lists.read_bp4d(tmp_path).problems) == {
        "list/BP4D_test_label_fold1.txt: line 2: expected 0 and 1, got '5 0 0 0 0 0 0 0 0 0 0 0'",
        "list/BP4D_test_label_fold1.txt: line 3: 2 codes, not 12",
        "list: BP4D_train fold 2: 8 paths, but 2 labels: not used",
        "list/BP4D_train_img_path_fold3.txt: No such file or directory",
        "list: fold 2: not on the side of bp4d-3fold: F001",
    }


def test_a_picture_that_two_lists_label_differently_is_named(tmp_path: Path) -> None:
    labels = _tree(tmp_path) / "BP4D_test_label_fold1.txt"
    lines = labels.read_text().splitlines()
    write_text(labels, ["0 " + lines[0][2:], *lines[1:]])
    assert lists.read_bp4d(tmp_path).problems == [
        f"list: F004/T1/7.jpg: fold {k} train labels it otherwise than another list" for k in (2, 3)
    ]


def test_disfas_pictures_count_from_0_and_its_frames_from_1(tmp_path: Path) -> None:
    write_picture(tmp_path / "img" / "SN001" / "0.png", face(0, (256, 256)))
    write_text(tmp_path / "list" / "DISFA_test_img_path_fold3.txt", ["SN001/0.png"])
    write_text(tmp_path / "list" / "DISFA_test_label_fold3.txt", ["0 0 1 0 0 0 0 0"])
    corpus = lists.read_disfa(tmp_path).corpus
    assert (corpus.subject[0], corpus.session[0], corpus.frame[0]) == ("DISFA:SN001", "video", 1)
    assert corpus.aus[int(corpus.occurrence[0].argmax())] == "AU04"
    with pytest.raises(CorpusError, match="no list of BP4D can be used"):
        lists.read_bp4d(tmp_path)
    with pytest.raises(CorpusError, match="neither img nor img_256x256"):
        lists.read_bp4d(tmp_path / "list")
