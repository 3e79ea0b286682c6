"""The face model from a repository: the right commit, the right mesh, the right offsets, or one clear line."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rtau.errors import SourceError
from train.__main__ import main
from train.synthesis.assets import assets_folder, load_head
from train.synthesis.fetch import Origin, _sha256, convert, fetch, fetched_model, read_obj

FACES = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\nf 1/1 2/2 5/3\n"


def obj(moved: float) -> str:
    """A square that is longer from 1 to 3 than from 2 to 4, and a fifth corner that a shape moves."""
    corners = [(-2, 0, 0), (0, -1, 0), (2, 0, 0), (0, 1, 0), (0.0, -3.0 + moved, 0.00001 * (moved > 0))]
    return "".join(f"v {x} {y} {z}\n" for x, y, z in corners) + FACES


def repository(folder: Path) -> Origin:
    """A small public home with one neutral mesh, one identity and one expression."""
    model = folder / "FaceXModel"
    model.mkdir(parents=True)
    for name, moved in (("generic_neutral_mesh", 0.0), ("identity000", 0.5), ("jawOpen", 1.5)):
        (model / f"{name}.obj").write_text(obj(moved))
    (folder / "LICENSE").write_text("MIT")

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "model")
    return Origin(str(folder), git("rev-parse", "HEAD").strip(), _sha256(convert(model)))


def test_the_packed_model_holds_mesh_offsets_and_licence(tmp_path: Path) -> None:
    origin = repository(tmp_path / "home")
    out = tmp_path / "cache" / "ict_face.npz"
    fetch(out, origin)
    with np.load(out, allow_pickle=False) as model:
        assert model["neutral"].dtype == np.float32
        assert model["tri"].tolist() == [[0, 1, 3], [1, 2, 3], [0, 1, 4]]  # cut along the shorter diagonal
        assert model["expression_names"].tolist() == ["jawOpen"]
        assert model["identity"][0, 4].tolist() == pytest.approx([0, 0.5, 0.00001], abs=1e-6)
        assert model["expression"][0, 4].tolist() == [0, 1.5, 0]  # noise of the file is gone
        assert not model["expression"][0, :4].any()
    assert (tmp_path / "cache" / "LICENSE").read_text() == "MIT"


def test_another_mesh_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    origin = repository(tmp_path / "home")
    out = tmp_path / "ict_face.npz"
    with pytest.raises(SourceError, match="sha256 of the mesh"):
        fetch(out, origin._replace(sha256="0" * 64))
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize("wrong", ["url", "commit"])
def test_a_home_without_the_commit_is_one_line_with_the_cure(tmp_path: Path, wrong: str) -> None:
    origin = repository(tmp_path / "home")
    origin = origin._replace(url=str(tmp_path / "nowhere")) if wrong == "url" else origin._replace(commit="1" * 40)
    with pytest.raises(SourceError, match="--source") as caught:
        fetch(tmp_path / "ict_face.npz", origin)
    assert "\n" not in str(caught.value)


def test_the_command_says_what_failed(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["fetch-face-model", "--source", str(tmp_path / "no"), "--out", str(tmp_path / "x.npz")]
    )
    assert result.exit_code == SourceError.exit_code
    assert str(tmp_path / "no") in result.output


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 1 2 x\n")
    with pytest.raises(SourceError, match=r"a\.obj: damaged"):
        read_obj(tmp_path / "a.obj")


def test_without_any_model_the_loader_names_both_cures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"fetch-face-model.*--assets"):
        load_head(tmp_path)


@pytest.mark.skipif(not assets_folder().is_dir(), reason="the face model is not here")
def test_a_fetched_model_serves_where_the_folder_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "assets"
    (folder / "ict_face").mkdir(parents=True)
    for name in ("landmark_maps.npz", "facs_map.csv"):
        (folder / "ict_face" / name).symlink_to(assets_folder() / "ict_face" / name)
    (folder / "makehuman_cc0").symlink_to(assets_folder() / "makehuman_cc0")
    fetched_model().parent.mkdir(parents=True)
    fetched_model().symlink_to(assets_folder() / "ict_face" / "ict_face.npz")
    assert load_head(folder).sha256 == load_head(assets_folder()).sha256
