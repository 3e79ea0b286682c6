"""`rtau gallery`: what a person types, and what is left on the disk."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from calibration.gallery import Gallery, Secret
from rtau.cli import main
from rtau.models import load_artifact
from tests.calibration.made_up import direction, neutral, person
from tests.rtau import film

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in an empty folder, with an empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("RTAU_GALLERY_PASSPHRASE", raising=False)
    monkeypatch.delenv("RTAU_GALLERY", raising=False)
    monkeypatch.delenv("RTAU_GALLERY_KEY", raising=False)

    def invoke(*args: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(main, args, input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    times = [i / 10 for i in range(45)]
    shown = [film.picture((480, 360), [(240.0 + 5 * t, 180.0, 120.0, 2 * t)]) for t in times]
    return film.write(tmp_path_factory.mktemp("clips") / "alice.mp4", shown, times)


def people(path: Path, *names: str, secret: Secret) -> None:
    model = load_artifact("default", "identity").card.sha256
    with Gallery(path, secret, model, create=True) as made:
        made.add([person(name, direction(i), neutral=neutral()) for i, name in enumerate(names)])


def test_enrol_process_forget(run: Run, clip: Path, tmp_path: Path) -> None:
    enrolled = run("gallery", "enroll", "alice", str(clip))
    assert enrolled.exit_code == 0, enrolled.output
    assert "baseline from" in enrolled.output
    assert stat.S_IMODE((tmp_path / "people.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "config" / "rtau" / "gallery.key").stat().st_mode) == 0o600
    assert run("gallery", "list").output == "alice\n"
    shown = run("gallery", "show", "alice").output
    assert "clips       1" in shown
    assert "AU12" in shown

    again = run("gallery", "enroll", "bob", str(clip))
    assert again.exit_code == 0
    assert "bob looks like alice" in again.output
    assert run("gallery", "merge", "alice", "bob").output == "alice: 2 clips\n"

    config = tmp_path / "run.yaml"
    config.write_text("runtime: {processes: false}")
    done = run("process", str(clip), "--gallery", "people.db", "--out", "aus.csv", "--config", str(config), "--quiet")
    assert done.exit_code == 0, done.output
    assert ",alice," in (tmp_path / "aus.csv").read_text().splitlines()[-1]
    assert json.loads((tmp_path / "aus.csv.meta.json").read_bytes())["gallery"] is True

    assert run("gallery", "forget", "alice").exit_code == 0
    assert run("gallery", "list").output == ""


def test_export_and_import_between_keys(run: Run, tmp_path: Path) -> None:
    people(tmp_path / "people.db", "alice", "bob", secret=Secret(passphrase="one"))
    prompted = run("gallery", "export", "out.json", "alice", "--passphrase", input="one\n")
    assert prompted.exit_code == 0, prompted.output
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o600
    assert [each["name"] for each in json.loads((tmp_path / "out.json").read_bytes())["persons"]] == ["alice"]
    assert run("gallery", "export", "out.json").exit_code == 5  # it exists


def test_import_is_all_or_nothing_and_into_the_own_key(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(tmp_path / "theirs.db", "alice", "bob", secret=Secret(passphrase="one"))
    monkeypatch.setenv("RTAU_GALLERY_PASSPHRASE", "one")
    assert run("gallery", "export", "out.json", "--gallery", "theirs.db").exit_code == 0
    monkeypatch.delenv("RTAU_GALLERY_PASSPHRASE")
    assert run("gallery", "import", "out.json").output == "2 persons imported\n"
    assert run("gallery", "list").output == "alice\nbob\n"
    refused = run("gallery", "import", "out.json")
    assert refused.exit_code == 11
    assert "alice is there already" in refused.output
    (tmp_path / "bad.json").write_text("{}")
    assert run("gallery", "import", "bad.json").exit_code == 11
    assert run("gallery", "import", "none.json").exit_code == 11


def test_a_passphrase_is_asked_twice_for_a_new_gallery(run: Run, clip: Path, tmp_path: Path) -> None:
    typo = run("gallery", "enroll", "alice", str(clip), "--passphrase", input="one\nother\none\none\n")
    assert typo.exit_code == 0, typo.output
    assert not (tmp_path / "config").exists()
    assert run("gallery", "list", "--passphrase", input="one\n").output.endswith("alice\n")


GALLERY_COMMANDS = [
    ("gallery", "list"),
    ("gallery", "enroll", "alice", "clip.mp4"),
    ("process", "clip.mp4", "--out", "aus.csv", "--gallery", "people.db"),
    ("stream", "--source", "synthetic", "--gallery", "people.db"),
]


@pytest.mark.parametrize("args", GALLERY_COMMANDS, ids=" ".join)
def test_a_passphrase_and_a_key_exclude_each_other(
    run: Run, tmp_path: Path, args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Error: --passphrase and --key (or $RTAU_GALLERY_KEY) exclude each other\n"
    named = run(*args, "--passphrase", "--key", "my.key", input="one\none\n")
    assert (named.exit_code, named.output.endswith(said)) == (2, True)
    monkeypatch.setenv("RTAU_GALLERY_KEY", "my.key")
    from_environment = run(*args, "--passphrase", input="one\none\n")
    assert (from_environment.exit_code, from_environment.output.endswith(said)) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", GALLERY_COMMANDS, ids=" ".join)
def test_no_passphrase_is_asked_for_a_gallery_with_a_key_file(run: Run, tmp_path: Path, args: tuple[str, ...]) -> None:
    people(tmp_path / "people.db", "alice", secret=Secret(key=bytes(32)))
    refused = run(*args, "--passphrase", input="one\none\n")
    said = "Error: people.db: was made with a key file, not with a passphrase; leave out --passphrase\n"
    assert (refused.exit_code, refused.output) == (11, said)


def test_a_passphrase_is_for_a_gallery(run: Run, tmp_path: Path) -> None:
    refused = run("process", "clip.mp4", "--out", "aus.csv", "--passphrase", input="one\n")
    assert refused.exit_code == 2
    assert refused.output.endswith("Error: --passphrase opens a gallery; name it with --gallery\n")
    (tmp_path / "run.yaml").write_text("persons: {gallery: people.db}")
    people(tmp_path / "people.db", "alice", secret=Secret(key=bytes(32)))
    refused = run("process", "clip.mp4", "--out", "aus.csv", "--config", "run.yaml", "--passphrase", input="one\n")
    assert (refused.exit_code, "people.db: was made with a key file" in refused.output) == (11, True)


def test_a_run_makes_no_gallery_of_an_empty_file(run: Run, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    path.touch()
    refused = run("process", str(clip), "--gallery", "people.db", "--out", "aus.csv", "--quiet")
    assert (refused.exit_code, refused.output.count("\n")) == (11, 1)
    assert "people.db: is not a gallery; `rtau gallery enroll NAME CLIP` makes one" in refused.output
    assert path.stat().st_size == 0
    assert run("gallery", "enroll", "alice", str(clip)).exit_code == 0
    assert run("gallery", "list").output == "alice\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("list",), "people.db: no such gallery; `rtau gallery enroll NAME CLIP` makes one"),
        (("enroll", "bad\nname", "clip.mp4"), "is no name"),
        (("enroll", "alice", "none.mp4"), "none.mp4"),
    ],
)
def test_bad_input_is_one_line(run: Run, args: tuple[str, ...], said: str) -> None:
    result = run("gallery", *args)
    assert result.exit_code in (3, 11)
    assert said in result.output
    assert result.output.count("\n") == 1


def test_who_is_not_there_cannot_be_shown_renamed_or_forgotten(run: Run, tmp_path: Path) -> None:
    from calibration.sealing import make_key

    people(tmp_path / "people.db", "alice", secret=Secret(key=make_key(tmp_path / "config" / "rtau" / "gallery.key")))
    for args in (
        ("show", "bob"),
        ("forget", "bob"),
        ("rename", "bob", "ada"),
        ("merge", "alice", "bob"),
        ("export", "x.json", "bob"),
    ):
        result = run("gallery", *args)
        assert (result.exit_code, "bob" in result.output) == (11, True)
    assert run("gallery", "rename", "alice", "ada").exit_code == 0
    assert run("gallery", "list").output == "ada\n"
    (tmp_path / "other.key").write_text("nothing")
    wrong = run("gallery", "list", "--key", "other.key")
    assert (wrong.exit_code, "is not a key file" in wrong.output) == (11, True)


def test_a_gallery_of_another_identity_model_is_refused_before_anything_runs(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    from calibration.sealing import make_key

    key = make_key(tmp_path / "config" / "rtau" / "gallery.key")
    Gallery(tmp_path / "people.db", Secret(key=key), "ab" * 32, create=True).close()
    result = run("process", str(clip), "--gallery", "people.db", "--out", "aus.csv")
    assert result.exit_code == 11
    assert "its embeddings are of identity model abababab" in result.output
    assert not (tmp_path / "aus.csv").exists()
