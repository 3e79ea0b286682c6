"""From small trees in the delivered layouts to an index, by the command."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.rtau.film import face_clip
from tests.train.data.corpora.trees import bp4d, disfa, face, write_picture, write_text
from tools.index_corpus import main
from train.data.corpora.augment import AUNCE, CLP
from train.data.corpora.clips import clips_of_tracks, windows
from train.data.corpora.index import folds, read_header, read_index
from train.data.corpora.loading import evaluation_batches, training_batches
from train.data.corpora.samplers import State, shuffle
from train.synthesis.assets import assets_folder
from train.synthesis.shards import RenderConfig, render_all


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--workers", "1"], catch_exceptions=False)


def test_bp4d_from_the_tree_to_batches(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "index"
    bp4d(tree, tasks=("T1",))
    refused = _run("bp4d", tree, "--out", out)
    assert refused.exit_code == 1
    assert "325 problems, all named in" in refused.output
    assert "AUCoding/AU_OCC/M018_T8.csv: missing" in (out / "report.md").read_text()
    assert not (out / "index.yaml").exists()
    done = _run("bp4d", tree, "--out", out, "--allow-missing")
    assert done.exit_code == 0, done.output
    assert "| frames | 9 | 146,847 | -146,838 |" in done.output
    assert "| AU06 | 66.7 | 46.2 | +20.5 | 0.0 |" in done.output
    assert "AUCoding/AU_OCC/M018_T8.csv: missing" in (out / "report.md").read_text()
    corpus = read_index(out)
    assert corpus.paths[0] == "F001/T1/000007.jpg"
    picture = cv2.imread(str(corpus.root / corpus.paths[0]))
    assert picture is not None
    assert picture.shape == (256, 256, 3)
    template = {int(i): (x, y) for i, x, y in read_header(out).template}
    assert template[33][0] < 128 < template[263][0]
    assert abs(template[33][1] - template[263][1]) < 3  # eyes level
    fold = folds(corpus, "bp4d-3fold")[0]
    whole = training_batches(corpus, shuffle(fold.train, 4), State(0), AUNCE)
    first, second = next(whole), next(whole)
    assert tuple(first.images.shape) == (2, 4, 3, 224, 224)
    resumed = next(training_batches(corpus, shuffle(fold.train, 4), first.after, AUNCE, workers=1))
    np.testing.assert_array_equal(second.rows, resumed.rows)
    np.testing.assert_array_equal(second.images.numpy(), resumed.images.numpy())  # whoever made them
    tested = list(evaluation_batches(corpus, fold.test, 2, AUNCE))
    assert [tuple(batch.images.shape) for batch in tested] == [(1, 2, 3, 224, 224), (1, 1, 3, 224, 224)]
    assert np.concatenate([batch.rows for batch in tested]).tolist() == fold.test.tolist()


def test_a_run_that_was_stopped_goes_on_and_bad_pictures_are_named(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "index"
    bp4d(tree, ("F001", "F003"), ("T1",))
    sequence = tree / "Sequences(2D+3D)" / "F001" / "T1"
    (sequence / "0007.jpg").write_bytes(b"no picture")
    write_picture(sequence / "0008.jpg", np.full((200, 240, 3), 110, np.uint8))
    _run("bp4d", tree, "--out", out, "--allow-missing")
    text = (out / "report.md").read_text()
    assert "- Sequences(2D+3D)/F001/T1/0007.jpg: not a readable picture" in text
    assert "- Sequences(2D+3D)/F001/T1/0008.jpg: no face found" in text
    assert read_index(out).frame.tolist() == [9, 7, 8, 9]
    other = out / "pictures" / "F003" / "T1" / "000008.jpg"
    kept, before = (out / "pictures" / "F001" / "T1" / "000009.jpg"), other.read_bytes()
    stamp = kept.stat().st_mtime_ns
    other.unlink()
    _run("bp4d", tree, "--out", out, "--allow-missing")
    assert other.read_bytes() == before  # what was missing is made again, the same
    assert kept.stat().st_mtime_ns == stamp  # and nothing else
    write_picture(sequence / "0007.jpg", face(7))
    _run("bp4d", tree, "--out", out, "--allow-missing")
    assert read_index(out).frame.tolist() == [7, 9, 7, 8, 9]  # what was mended is taken


def test_disfa_frames_are_cut_from_the_video(tmp_path: Path) -> None:
    disfa(tmp_path / "tree", ("SN001",))
    done = _run("disfa", tmp_path / "tree", "--out", tmp_path / "index", "--allow-missing")
    assert done.exit_code == 0, done.output
    corpus = read_index(tmp_path / "index")
    assert corpus.frame.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(corpus.intensity[:, corpus.aus.index("AU12")], [0, 1, 2, 3])


def test_given_landmarks_and_whole_pictures(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "index"
    bp4d(tree, ("F001",), ("T1",))
    paths = [f"Sequences(2D+3D)/F001/T1/000{n}.jpg" for n in (7, 9)]
    points = np.random.default_rng(0).uniform(50, 150, (2, 49, 2))
    np.savez(tmp_path / "points.npz", paths=np.array(paths), points=points)
    _run("bp4d", tree, "--out", out, "--allow-missing", "--faces", tmp_path / "points.npz")
    assert read_index(out).frame.tolist() == [7, 9]
    assert "0008.jpg: no landmarks are given" in (out / "report.md").read_text()
    assert read_header(out).alignment.endswith("landmarks given")
    assert read_header(out).template == ()  # 49 points are no mesh
    _run("bp4d", tree, "--out", tmp_path / "whole", "--allow-missing", "--faces", "whole")
    assert read_header(tmp_path / "whole").alignment == "whole picture, 256 px"
    assert _run("bp4d-lists", tree, "--out", out, "--faces", "whole").exit_code == 2


def test_more_processes_give_the_same(tmp_path: Path) -> None:
    bp4d(tmp_path / "tree", ("F001", "F003"), ("T1",))
    options = ("bp4d", tmp_path / "tree", "--allow-missing", "--faces", "whole")
    _run(*options, "--out", tmp_path / "one")
    done = CliRunner().invoke(main, [*map(str, options), "--out", str(tmp_path / "two"), "--workers", "2"])
    assert done.exit_code == 0, done.output
    one, two = read_index(tmp_path / "one"), read_index(tmp_path / "two")
    assert one.paths == two.paths
    assert all((one.root / path).read_bytes() == (two.root / path).read_bytes() for path in one.paths)


def test_tight_crops_as_affwild2s_still_give_a_face(tmp_path: Path) -> None:
    base = tmp_path / "annotations" / "AU_Detection_Challenge"
    names = "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
    for folder, video in (("Train_Set", "a"), ("Validation_Set", "b")):
        write_text(base / folder / f"{video}.txt", [names, ",".join("1" * 12)])
        write_picture(tmp_path / "cropped_aligned" / video / "00001.jpg", face(0, (112, 112), 80))
    done = _run("affwild2", tmp_path, "--out", tmp_path / "index")
    assert done.exit_code == 0, done.output
    assert len(folds(read_index(tmp_path / "index"), "split")[0].test) == 1


def test_list_files_are_indexed_where_they_lie(tmp_path: Path) -> None:
    for size, path in ((256, "F001/T1/7.jpg"), (200, "F003/T1/7.jpg")):
        write_picture(tmp_path / "img" / path, face(0, (size, size)))
        k = 3 if size == 256 else 2
        write_text(tmp_path / "list" / f"BP4D_test_img_path_fold{k}.txt", [path])
        write_text(tmp_path / "list" / f"BP4D_test_label_fold{k}.txt", ["0 " * 11 + "1"])
    done = _run("bp4d-lists", tmp_path, "--out", tmp_path / "index", "--allow-missing")
    assert done.exit_code == 0, done.output
    corpus = read_index(tmp_path / "index")
    assert corpus.paths == ["F001/T1/7.jpg"]
    assert corpus.root == tmp_path / "img"
    assert "F003/T1/7.jpg: expected 256 x 256 pixels, got 200 x 200" in (tmp_path / "index" / "report.md").read_text()
    assert not (tmp_path / "index" / "pictures").exists()


def test_ferplus_pixels_become_pictures(tmp_path: Path) -> None:
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    usages = ("Training", "PublicTest", "PrivateTest")
    grey = cv2.cvtColor(face(0, (48, 48), 40), cv2.COLOR_RGB2GRAY)
    pixels = " ".join(map(str, grey.ravel().tolist()))
    write_text(tmp_path / "fer2013new.csv", [header, *(f"{u},x.png,9,1,0,0,0,0,0,0,0,0" for u in usages)])
    write_text(tmp_path / "fer2013.csv", ["emotion,pixels,Usage", *(f"0,{pixels},{u}" for u in usages)])
    done = _run("ferplus", tmp_path, "--out", tmp_path / "index")
    assert done.exit_code == 0, done.output
    assert "| neutral | 3 |" in done.output
    corpus = read_index(tmp_path / "index")
    assert corpus.paths[0] == "train/000000.jpg"
    picture = cv2.imread(str(corpus.root / corpus.paths[0]))
    assert picture is not None
    assert np.abs(cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA)[..., 0].astype(int) - grey).mean() < 4


def test_faces_in_videos_become_tracks_and_clips(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    (videos / "somebody").mkdir(parents=True)
    face_clip(videos / "somebody" / "one.mp4", [lambda t: (240 + 40 * t, 180, 110, 0)], seconds=0.6)
    face_clip(videos / "two.mp4", [lambda t: (120, 180, 90, 0), lambda t: (360, 180, 90, 0)], seconds=0.6)
    (videos / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "index"
    refused = _run("clips", videos, "--out", out)
    assert refused.exit_code == 1
    assert "broken.mp4: " in refused.output
    done = _run("clips", videos, "--out", out, "--allow-missing")
    assert done.exit_code == 0, done.output
    (out / "pictures" / "two_mp4" / "2" / "000003.jpg").unlink()
    _run("clips", videos, "--out", out, "--allow-missing")  # makes again what is gone
    corpus = read_index(out)
    assert corpus.aus == ()
    assert sorted(set(zip(corpus.subject.tolist(), corpus.session.tolist(), strict=True))) == [
        ("clips:somebody", "somebody/one_mp4/1"),
        ("clips:two_mp4/1", "two_mp4/1"),
        ("clips:two_mp4/2", "two_mp4/2"),
    ]
    found = windows(corpus, np.arange(len(corpus.paths)), length=4, stride=2)
    assert len(found) == 3 * 12
    plan = clips_of_tracks(corpus, found, 3)
    batch = next(training_batches(corpus, plan, State(0), CLP))
    assert tuple(batch.images.shape) == (2, 3, 4, 3, 224, 224)
    assert len(set(corpus.subject[batch.rows[:, 0]])) == 3


def test_frames_cut_into_tracks_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for place, count in (("p1/v/1", 3), ("p2/v/1", 1), ("loose/1", 3)):
        for n in range(count):
            write_picture(tree / place / f"{n * 9}.jpg", face(n, (256, 256), 110))
    options = ("tracks", tree, "--out", tmp_path / "index", "--faces", "whole", "--shortest", "2")
    assert "loose/1: pictures, but not in IDENTITY/VIDEO/TRACK" in _run(*options).output
    done = _run(*options, "--allow-missing")
    assert "1 tracks of fewer than 2 frames are left out" in done.output
    corpus = read_index(tmp_path / "index")
    assert (corpus.subject[0], corpus.session[0], corpus.frame.tolist()) == ("clips:p1", "v/1", [0, 9, 18])


@pytest.mark.skipif(not assets_folder().is_dir(), reason="the face model is not here")
def test_rendered_faces_are_cut_by_their_exact_landmarks(tmp_path: Path) -> None:
    shards, out = tmp_path / "shards", tmp_path / "index"
    config = RenderConfig(out=str(shards), split="test", persons=3, pictures=4, size=128)
    render_all(config, assets_folder(), 1, lambda done, count, rate: None)
    done = _run("rendered", shards, "--out", out)
    assert done.exit_code == 0, done.output
    corpus, header = read_index(out), read_header(out)
    assert (len(corpus.paths), header.subjects, len(corpus.aus)) == (12, 3, 20)
    assert corpus.subject[0] == "synth:test_000000"
    known = ~np.isnan(corpus.intensity)
    np.testing.assert_array_equal(corpus.occurrence[known] == 1, corpus.intensity[known] >= 1)
    assert [len(fold.test) for fold in folds(corpus, "subjects-3")] == [4, 4, 4]
    template = {int(i): (x, y) for i, x, y in header.template}
    assert template[33][0] < 128 < template[263][0]
