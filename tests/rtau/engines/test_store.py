"""What is kept is used again only by those it was made for, and only whole."""

from pathlib import Path

import pytest

from rtau.engines.store import cache_folder, kept

MADE_FOR = {"gpu": "NVIDIA H100", "weights": "ab12"}


class Builder:
    def __init__(self) -> None:
        self.builds, self.said = 0, list[str]()

    def get(self, made_for: dict[str, str] = MADE_FOR, payload: bytes = b"engine\nwith lines") -> bytes:
        def build() -> bytes:
            self.builds += 1
            return payload

        return kept("rtau-au-1", made_for, build, lambda found: found or None, self.said.append)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    monkeypatch.setenv("RTAU_CACHE", str(tmp_path / "cache"))
    return Builder()


def the_file() -> Path:
    (path,) = cache_folder().iterdir()
    return path


def test_it_is_built_once_and_said_so(builder: Builder) -> None:
    assert builder.get() == b"engine\nwith lines"
    assert [line.split()[0] for line in builder.said] == ["building", "built"]
    assert builder.get() == b"engine\nwith lines"
    assert (builder.builds, len(builder.said)) == (1, 2)


@pytest.mark.parametrize("changed", [{"gpu": "NVIDIA T4"}, {"weights": "cd34"}, {"driver": "13000"}])
def test_another_gpu_version_or_weights_have_their_own(builder: Builder, changed: dict[str, str]) -> None:
    builder.get()
    builder.get(MADE_FOR | changed)
    assert builder.builds == 2
    builder.get()
    assert builder.builds == 2


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"!", lambda b: b"", lambda b: b"\x80\n" + b])
def test_a_damaged_file_is_built_again(builder: Builder, damage) -> None:  # type: ignore[no-untyped-def]
    builder.get()
    the_file().write_bytes(damage(the_file().read_bytes()))
    assert builder.get() == b"engine\nwith lines"
    assert builder.builds == 2
    assert any("building it again" in line for line in builder.said)
    builder.get()
    assert builder.builds == 2


def test_a_file_that_was_made_for_another_machine_is_built_again(builder: Builder) -> None:
    builder.get(MADE_FOR | {"gpu": "NVIDIA T4"})
    foreign = the_file().read_bytes()
    the_file().unlink()
    builder.get()
    the_file().write_bytes(foreign)
    builder.get()
    assert builder.builds == 3
    assert any("was made for something else" in line for line in builder.said)


def test_what_cannot_be_loaded_is_built_again(builder: Builder) -> None:
    builder.get()
    loads = iter([None, b"fine"])
    assert kept("rtau-au-1", MADE_FOR, lambda: b"new", lambda found: next(loads), builder.said.append) == b"fine"
    assert any("cannot be loaded; building it again" in line for line in builder.said)


def test_without_a_place_to_keep_it_is_used_all_the_same(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert builder.get() == b"engine\nwith lines"
    assert any("cannot be written" in line for line in builder.said)


def test_the_user_s_cache_folder_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RTAU_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "rtau"
