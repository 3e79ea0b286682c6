"""The studies on two small corpora of one face, a few steps a run: that every run fits to the next, and the tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.conftest import small_corpus
from train.runs.config import RunConfig
from train.runs.run import read_results
from train.studies import clef, clile, clp, grid
from train.studies.clile import identity_probe
from train.studies.grid import over_seeds, score

AUS = tuple(int(au[2:]) for au in grid.AUS)


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stills and activities, each 8 frames of 6 people with two activities, and recipes of two steps."""
    for name in ("stills", "activities"):
        small_corpus(tmp_path / name, name, AUS, tuple(f"p{i}" for i in range(6)))

    def short(out: str, seed: int, data: Any, method: Any, **changes: Any) -> RunConfig:
        changes = {key: value for key, value in changes.items() if key != "steps"}
        steps = 0 if changes.get("epochs") == 0 else 2
        batch = min(changes.pop("batch", 8), 8)
        return grid.small(out, seed, data, method, **changes, steps=steps, batch=batch)

    monkeypatch.setattr(grid, "FOLDER", tmp_path / "runs")
    monkeypatch.setattr(grid, "START", grid.RANDOM)
    monkeypatch.setattr(clef, "_TEXTS", tmp_path / "texts.npz")
    for module in (clile, clp, clef):
        monkeypatch.setattr(module, "small", short)
        for name in ("STILLS", "ACTIVITIES"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, tmp_path / name.lower())
    return tmp_path


def test_few_people(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clile, "PEOPLE", (2,))
    monkeypatch.setattr(clile, "VARIANTS", ("entropy", "clile"))
    monkeypatch.setattr(clile, "_PAIRS", (("clile", "entropy"),))
    assert "| 2 | not measured | not measured |" in clile.report()
    clile.measure(0)
    text = clile.report()
    assert "not measured" not in text
    kept = corpora / "runs" / "clile" / "2_clile" / "seed0" / "fold1" / "network.safetensors"
    before = kept.stat().st_mtime_ns
    clile.measure(0)
    assert kept.stat().st_mtime_ns == before  # what is done is not done again
    assert len(read_results(corpora / "runs" / "clile" / "2_ile" / "seed0")) == 1


def test_probe_after_pretraining(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clp, "SHARES", (0.5,))
    monkeypatch.setattr(clp, "VARIANTS", ("random", "both"))
    clp.measure(0)
    assert "not measured" not in clp.report()


def test_activities_before_aus(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clef, "SHARES", (1.0,))
    monkeypatch.setattr(clef, "ACTIVITIES_A_BATCH", 2)
    clef.measure(0)
    assert "not measured" not in clef.report()


def test_interval_of_three_seeds_is_students() -> None:
    value = over_seeds([1.0, 2.0, 3.0])
    assert value.mean == 2
    assert value.half == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert str(value) == "2.0 ± 2.5"
    assert str(over_seeds([1.25])) == "1.2"
    assert str(score([], "own", "f1")) == "not measured"


def test_identity_probe_knows_people_by_what_is_theirs_alone() -> None:
    rng = np.random.default_rng(0)
    who = np.repeat(np.array([f"p{i}" for i in range(10)]), 12)
    shared = rng.standard_normal((120, 16))
    personal = np.repeat(rng.standard_normal((10, 16)), 12, axis=0)
    assert identity_probe(shared, who) < 30
    assert identity_probe(shared + 3 * personal, who) > 95
