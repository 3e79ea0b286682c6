"""GFT, Aff-Wild2 and the expression corpora."""

from pathlib import Path

import numpy as np
import pytest

from tests.train.data.corpora.trees import face, write_picture, write_text, write_video
from train.data.corpora import affectnet, affwild2, ferplus, gft, rafdb
from train.data.corpora.index import CorpusError, folds

AFFWILD_HEADER = "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"


def test_gft_is_read_as_its_layout_says(tmp_path: Path) -> None:
    columns = ["Time", *(f"AU{n:02d}" for n in (1, 2, 4, 5, 6, 10, 12, 14, 15, 23, 24))]
    for who in ("001A", "002B"):
        rows = [",".join(["5", *["0"] * 10, "1"]), ",".join(["6", "1", "-999", "", *["9"] * 8]), "7" + ",9" * 11]
        write_text(tmp_path / "coding" / f"{who}.csv", [",".join(columns), *rows])
        write_video(tmp_path / "video" / f"{who}.mp4.avi", [face(0)] * 8)
    write_text(tmp_path / "people.csv", ["id,set", "001A,Training", "002B,Testing", "003C,Training"])
    (tmp_path / "gft.yaml").write_text(
        "labels: coding/{}.csv\nframe_column: Time\npictures: video/{}.mp4.avi\npartition: people.csv\n"
        "subject_column: id\npart_column: set\ntrain: Training\ntest: Testing\n"
    )
    reading = gft.read(tmp_path, gft.read_layout(tmp_path / "gft.yaml"))
    corpus = reading.corpus
    assert corpus.paths[:2] == ["video/001A.mp4.avi#4", "video/001A.mp4.avi#5"]
    assert corpus.occurrence[:2].tolist() == [[0] * 9 + [1], [1] + [-1] * 9]
    assert corpus.text["part"].tolist() == ["train", "train", "test", "test"]
    assert reading.problems == ["coding/003C.csv: missing"]
    assert reading.notes == ["2 rows know none of the 10 AUs and are left out"]
    assert folds(corpus, "split")[0].test.tolist() == [2, 3]
    (tmp_path / "gft.yaml").write_text("label: x")
    with pytest.raises(CorpusError, match=r"gft\.yaml: Object contains unknown field `label`"):
        gft.read_layout(tmp_path / "gft.yaml")


def test_affwild2_lines_are_frames_and_undetected_faces_are_counted(tmp_path: Path) -> None:
    base = tmp_path / "annotations" / "AU_Detection_Challenge"
    ones = ",".join("1" * 12)
    write_text(base / "Train_Set" / "1-30.txt", [AFFWILD_HEADER, ones, ",".join(["-1"] * 12), ones.replace("1", "0")])
    write_text(base / "Validation_Set" / "7_left.txt", [AFFWILD_HEADER, ones, ones])
    for video, numbers in (("1-30", (1, 2, 3)), ("7_left", (2, 3))):
        for n in numbers:
            write_picture(tmp_path / "cropped_aligned" / video / f"{n:05d}.jpg", face(n))
    reading = affwild2.read(tmp_path)
    corpus = reading.corpus
    assert corpus.paths == [f"cropped_aligned/{p}.jpg" for p in ("1-30/00001", "1-30/00003", "7_left/00002")]
    assert corpus.occurrence[:, 0].tolist() == [1, 0, 1]
    assert corpus.subject[[0, 2]].tolist() == ["Aff-Wild2:1-30", "Aff-Wild2:7_left"]
    assert corpus.text["part"].tolist() == ["train", "train", "test"]
    assert reading.problems == ["cropped_aligned/7_left: pictures without a label line: 3"]
    assert reading.notes[-1].startswith("1 labelled frames have no picture")


def test_rafdb_words_and_parts(tmp_path: Path) -> None:
    lines = ["train_00001.jpg 5", "train_00002.jpg 4", "test_0001.jpg 7", "test_0001.jpg 7", "test_0002.jpg 9"]
    write_text(tmp_path / "basic" / "EmoLabel" / "list_patition_label.txt", lines)
    for name in ("train_00001", "test_0001", "test_0009"):
        write_picture(tmp_path / "basic" / "Image" / "aligned" / f"{name}_aligned.jpg", face(0, (100, 100), 60))
    reading = rafdb.read(tmp_path)
    assert reading.corpus.text["expression"].tolist() == ["sadness", "neutral"]
    assert reading.corpus.text["part"].tolist() == ["train", "test"]
    assert len(set(reading.corpus.subject.tolist())) == 2
    assert reading.cut == "whole"
    assert reading.problems == [
        "basic/EmoLabel/list_patition_label.txt: line 4: comes twice: 'test_0001.jpg 7'",
        "basic/EmoLabel/list_patition_label.txt: line 5: expected `train_00001.jpg 5`: 'test_0002.jpg 9'",
        "basic/Image/aligned/test_0009_aligned.jpg: not in basic/EmoLabel/list_patition_label.txt",
        "basic/Image/aligned/train_00002_aligned.jpg: missing",
    ]


def test_affectnet_folders(tmp_path: Path) -> None:
    for folder, codes in (("train_set", {3: "7", 12: "1"}), ("val_set", {4: "0", 5: "9"})):
        for number, code in codes.items():
            write_picture(tmp_path / folder / "images" / f"{number}.jpg", face(0))
            (tmp_path / folder / "annotations").mkdir(exist_ok=True)
            np.save(tmp_path / folder / "annotations" / f"{number}_exp.npy", code)
    write_picture(tmp_path / "train_set" / "images" / "13.jpg", face(0))
    reading = affectnet.read(tmp_path)
    assert reading.corpus.text["expression"].tolist() == ["contempt", "happiness", "neutral"]
    assert reading.corpus.text["part"].tolist() == ["train", "train", "test"]
    assert reading.problems == [
        "train_set/images/13.jpg: no annotation",
        "val_set/annotations/5_exp.npy: expected a number as name and 0-7, got 9",
    ]


def test_affectnets_older_release(tmp_path: Path) -> None:
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    write_text(
        tmp_path / "training.csv",
        [header, "1/a.jpg,0,0,9,9,0;0,3,0,0", "1/b.jpg,0,0,9,9,0;0,8,0,0", "1/c.jpg,,,,,,x,,"],
    )
    write_text(tmp_path / "validation.csv", [header, "2/d.jpg,0,0,9,9,0;0,5,0,0"])
    for path in ("1/a.jpg", "2/d.jpg"):
        write_picture(tmp_path / path, face(0))
    reading = affectnet.read(tmp_path)
    assert reading.corpus.text["expression"].tolist() == ["surprise", "disgust"]
    assert reading.notes == ["1 rows say none, uncertain or no face and are left out"]
    assert reading.problems == ["training.csv: line 4: picture '1/c.jpg', expression 'x'"]


def test_ferplus_takes_the_word_with_the_most_votes(tmp_path: Path) -> None:
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    rows = [
        "Training,fer0000000.png,1,8,1,0,0,0,0,0,0,0",
        "Training,fer0000001.png,4,4,2,0,0,0,0,0,0,0",  # a tie
        "Training,,0,0,0,0,0,0,0,0,0,10",
        "PublicTest,fer0000003.png,0,0,0,0,0,0,0,6,4,0",
        "PrivateTest,fer0000004.png,0,0,0,0,0,1,0,0,9,0",  # unknown
        "PrivateTest,fer0000005.png,6,0,0,4,0,0,0,0,0,0",
    ]
    pixels = " ".join(["100"] * 48 * 48)
    usages = [row.split(",")[0] for row in rows]
    write_text(tmp_path / "fer2013new.csv", [header, *rows])
    write_text(tmp_path / "fer2013.csv", ["emotion,pixels,Usage", *(f"0,{pixels},{usage}" for usage in usages)])
    reading = ferplus.read(tmp_path)
    assert reading.corpus.paths == ["fer2013.csv#0", "fer2013.csv#3", "fer2013.csv#5"]
    assert reading.corpus.text["expression"].tolist() == ["happiness", "contempt", "neutral"]
    assert reading.corpus.text["part"].tolist() == ["train", "validation", "test"]
    assert reading.problems == []
    assert reading.notes[0].startswith("1 rows are no face, 2 have no word")
    write_text(tmp_path / "fer2013new.csv", [header, *rows[:-1]])
    with pytest.raises(CorpusError, match="5 rows, but"):
        ferplus.read(tmp_path)
