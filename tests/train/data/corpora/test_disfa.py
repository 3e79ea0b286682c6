from pathlib import Path

import numpy as np
import pytest

from tests.train.data.corpora.trees import DISFA_AUS, disfa, face, write_picture, write_text
from train.data.corpora import disfa as loader
from train.data.corpora import disfaplus
from train.data.corpora.index import CorpusError


def test_present_means_intensity_two_and_line_t_is_frame_t(tmp_path: Path) -> None:
    disfa(tmp_path)
    corpus = loader.read(tmp_path).corpus
    twelve = corpus.aus.index("AU12")
    assert corpus.aus == ("AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26")
    assert corpus.frame[:4].tolist() == [1, 2, 3, 4]
    assert corpus.paths[:2] == [f"Video_LeftCamera/LeftVideoSN001_comp.avi#{n}" for n in (0, 1)]
    np.testing.assert_array_equal(corpus.intensity[:4, twelve], [0, 1, 2, 3])
    np.testing.assert_array_equal(corpus.occurrence[:4, twelve], [0, 0, 1, 1])
    assert sorted(set(corpus.subject.tolist())) == ["DISFA:SN001", "DISFA:SN003", "DISFA:SN006"]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    disfa(tmp_path)
    labels = tmp_path / "ActionUnit_Labels"
    (labels / "SN001" / "SN001_au4.txt").unlink()
    write_text(labels / "SN003" / "SN003_au6.txt", ["1,0", "2,7", "4,0"])
    (tmp_path / "Video_LeftCamera" / "LeftVideoSN006_comp.avi").unlink()
    (labels / "SN014").mkdir()
    reading = loader.read(tmp_path)
    assert [p for p in reading.problems if p.endswith(": missing") and "/SN" in p and "_au" not in p] == [
        f"ActionUnit_Labels/{s}: missing" for s in loader.SUBJECTS if s not in ("SN001", "SN003", "SN006")
    ]
    assert {p for p in reading.problems if not p.startswith("ActionUnit_Labels/SN0") or "_au" in p} >= {
        "ActionUnit_Labels/SN001/SN001_au4.txt: missing",
        "ActionUnit_Labels/SN003/SN003_au6.txt: line 2: code is 7, expected one of [0, 1, 2, 3, 4, 5]",
        "ActionUnit_Labels/SN003/SN003_au6.txt: no line for frame 3",
        "Video_LeftCamera/LeftVideoSN006_comp.avi: missing",
    }
    assert "ActionUnit_Labels/SN014: not a subject of DISFA" in reading.problems
    corpus = reading.corpus
    four, six = corpus.aus.index("AU04"), corpus.aus.index("AU06")
    assert (corpus.occurrence[corpus.subject == "DISFA:SN001", four] == -1).all()  # unknown, not absent
    np.testing.assert_array_equal(corpus.occurrence[corpus.subject == "DISFA:SN003", six], [0, -1, -1, 0])


def test_a_video_of_another_length_is_named(tmp_path: Path) -> None:
    disfa(tmp_path, ("SN001",))
    for au in DISFA_AUS:
        write_text(tmp_path / "ActionUnit_Labels" / "SN001" / f"SN001_au{au}.txt", [f"{t},0" for t in range(1, 7)])
    assert "Video_LeftCamera/LeftVideoSN001_comp.avi: 4 frames, but 6 are coded" in loader.read(tmp_path).problems
    (tmp_path / "Video_LeftCamera" / "LeftVideoSN001_comp.avi").write_bytes(b"no video")
    with pytest.raises(CorpusError, match="no labelled picture of DISFA"):
        loader.read(tmp_path)


def test_disfaplus_is_of_disfas_people(tmp_path: Path) -> None:
    base = tmp_path / "DISFAPlusDataset"
    for au in DISFA_AUS:
        lines = ["AU labels", "frame intensity", *(f"00{n}.jpg {n if au == 1 else 0}" for n in range(1, 4))]
        write_text(base / "Labels" / "SN001" / "A1_Trial_1" / f"AU{au}.txt", lines)
    for n in (1, 2, 4):
        write_picture(base / "Images" / "SN001" / "A1_Trial_1" / f"00{n}.jpg", face(n))
    reading = disfaplus.read(tmp_path)
    corpus = reading.corpus
    assert corpus.paths == [f"DISFAPlusDataset/Images/SN001/A1_Trial_1/00{n}.jpg" for n in (1, 2)]
    assert (corpus.subject[0], corpus.session[0], corpus.frame.tolist()) == ("DISFA:SN001", "A1_Trial_1", [1, 2])
    np.testing.assert_array_equal(corpus.intensity[:, 0], [1, 2])
    np.testing.assert_array_equal(corpus.occurrence[:, 0], [0, 1])
    assert reading.problems[-2:] == [
        "Images/SN001/A1_Trial_1: missing 003.jpg",
        "Images/SN001/A1_Trial_1: not coded 004.jpg",
    ]
    assert len(reading.problems) == 8 + 2
