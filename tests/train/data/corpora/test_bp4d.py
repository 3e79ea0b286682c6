from pathlib import Path

import numpy as np
import pytest

from tests.train.data.corpora.trees import bp4d as tree
from tests.train.data.corpora.trees import face, write_picture, write_text, write_video
from train.data.corpora import bp4d, bp4dplus
from train.data.corpora.index import CorpusError


def _problems(root: Path, about: str) -> list[str]:
    """All but those of the 38 subjects that a small tree has not."""
    return [problem for problem in bp4d.read(root).problems if about in problem]


def test_labels_pictures_and_activities_come_together(tmp_path: Path) -> None:
    tree(tmp_path)
    reading = bp4d.read(tmp_path)
    corpus = reading.corpus
    assert corpus.aus == (
        "AU01",
        "AU02",
        "AU04",
        "AU06",
        "AU07",
        "AU10",
        "AU12",
        "AU14",
        "AU15",
        "AU17",
        "AU23",
        "AU24",
    )
    assert len(corpus.paths) == 18
    assert corpus.paths[:3] == [f"Sequences(2D+3D)/F001/T1/000{n}.jpg" for n in (7, 8, 9)]
    assert corpus.subject[:1].tolist() == ["BP4D:F001"]
    assert corpus.session[[0, 3]].tolist() == ["T1", "T2"]
    assert corpus.frame[:3].tolist() == [7, 8, 9]
    np.testing.assert_array_equal(corpus.occurrence[:3, corpus.aus.index("AU06")], [1, 0, 1])
    assert (np.delete(corpus.occurrence, corpus.aus.index("AU06"), axis=1) == 0).all()
    assert corpus.text["activity"][0] == "talk and joke with the experimenter"
    assert corpus.text["target_emotion"][3] == "sad"
    assert reading.notes[0].startswith("AUCoding/AU_INT is not there")
    assert reading.notes[1].startswith("6 coded rows know none of the 12 AUs")


def test_every_task_that_is_not_there_is_named(tmp_path: Path) -> None:
    tree(tmp_path, ("F001",), ("T1", "T2"))
    problems = bp4d.read(tmp_path).problems
    assert len(problems) == 41 * 8 - 2
    assert "AUCoding/AU_OCC/M018_T8.csv: missing" in problems


def test_missing_and_extra_files_and_bad_cells_are_named(tmp_path: Path) -> None:
    tree(tmp_path)
    coding, pictures = tmp_path / "AUCoding" / "AU_OCC", tmp_path / "Sequences(2D+3D)"
    (pictures / "F001" / "T1" / "0008.jpg").unlink()
    write_picture(pictures / "F001" / "T2" / "7.jpg", face(0))
    write_text(coding / "F099_T1.csv", ["0,1"])
    text = (coding / "F003_T1.csv").read_text().splitlines()
    text[1] = text[1].replace("7,0,0", "7,3,0", 1)
    text[2] = "8,0"
    text[3] = text[3].replace("9,", "7,", 1)
    write_text(coding / "F003_T1.csv", text)
    write_text(coding / "F003_T2.csv", ["0,1,2,4", "7,0,0,0"])
    assert _problems(tmp_path, "F099") == ["AUCoding/AU_OCC/F099_T1.csv: not a subject and task of BP4D"]
    assert _problems(tmp_path, "F001/") == [
        "Sequences(2D+3D)/F001/T1: no picture 8",
        "Sequences(2D+3D)/F001/T2/7.jpg: the same frame as 0007.jpg",
    ]
    assert _problems(tmp_path, "F003_T1") == [
        "AUCoding/AU_OCC/F003_T1.csv: line 2: AU1 is 3, expected one of [0, 1, 9]",
        "AUCoding/AU_OCC/F003_T1.csv: line 3: not a row of 13 whole numbers: '8,0'",
        "AUCoding/AU_OCC/F003_T1.csv: line 4: frame 7 comes twice",
    ]
    assert _problems(tmp_path, "F003_T2") == [
        "AUCoding/AU_OCC/F003_T2.csv: no column 6, 7, 10, 12, 14 and 4 more in the first row"
    ]
    corpus = bp4d.read(tmp_path).corpus
    assert corpus.occurrence[corpus.subject == "BP4D:F003"].tolist()[0][:2] == [-1, 0]  # the bad cell is unknown


def test_intensities_are_matched_by_frame(tmp_path: Path) -> None:
    tree(tmp_path, ("F001",), ("T1",))
    for au in ("AU10", "AU12", "AU14", "AU17"):
        write_text(tmp_path / "AUCoding" / "AU_INT" / au / f"F001_T1_{au}.csv", ["7,0", "8,9", "9,5"])
    reading = bp4d.read(tmp_path)
    twelve = reading.corpus.aus.index("AU12")
    np.testing.assert_array_equal(reading.corpus.intensity[:, twelve], [0, np.nan, 5])
    assert np.isnan(reading.corpus.intensity[:, 0]).all()
    assert [p for p in reading.problems if "INT" in p] == ["AUCoding/AU_INT/AU06/F001_T1_AU06.csv: missing"]
    write_text(tmp_path / "AUCoding" / "AU_INT" / "AU06" / "F001_T1_AU06.csv", ["frame,AU6", "7,1", "99,2", "8,x"])
    assert [p for p in bp4d.read(tmp_path).problems if "INT" in p] == [
        "AUCoding/AU_INT/AU06/F001_T1_AU06.csv: intensity of frames without occurrence codes: 99",
        "AUCoding/AU_INT/AU06/F001_T1_AU06.csv: line 4: not a row of 2 whole numbers: '8,x'",
    ]


def test_the_video_delivery_is_read_by_its_own_names(tmp_path: Path) -> None:
    tree(tmp_path, ("F001", "M002"), ("T3",))
    (tmp_path / "Sequences(2D+3D)").rename(tmp_path / "elsewhere")
    for name in ("2F01_07", "2M02_07"):  # code 07 is T3
        write_video(tmp_path / "videos" / f"{name}.avi", [face(0)] * 10)
    corpus = bp4d.read(tmp_path, frame_offset=-1).corpus
    assert corpus.paths[:3] == ["videos/2F01_07.avi#6", "videos/2F01_07.avi#7", "videos/2F01_07.avi#8"]
    assert corpus.paths[3] == "videos/2M02_07.avi#6"


def test_bp4dplus_has_other_people_compact_columns_and_pictures_from_0(tmp_path: Path) -> None:
    header = "0,1,2,4,5,6,7,9,10,11,12,13,14,15,16,17,18,19,20,22,23,24"
    codes = ["0"] * 21
    codes[header.split(",").index("12") - 1] = "1"
    write_text(tmp_path / "AUCoding" / "AU_OCC" / "F001_T8.csv", [header, ",".join(["1", *codes])])
    write_picture(tmp_path / "2D+3D" / "F001" / "T8" / "0000.jpg", face(0))
    reading = bp4dplus.read(tmp_path)
    assert reading.corpus.paths == ["2D+3D/F001/T8/0000.jpg"]
    assert reading.corpus.subject.tolist() == ["BP4D+:F001"]
    assert reading.corpus.text["activity"].tolist() == ["cold water"]
    assert [reading.corpus.aus[a] for a in np.flatnonzero(reading.corpus.occurrence[0])] == ["AU12"]
    assert len(reading.problems) == 559
    with pytest.raises(CorpusError, match="no labelled picture of"):
        bp4dplus.read(tmp_path, frame_offset=5)


def test_a_wrong_folder_is_said_to_be_wrong(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no labelled picture of BP4D found; is this its root folder"):
        bp4d.read(tmp_path)
