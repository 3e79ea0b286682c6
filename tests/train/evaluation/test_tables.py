"""Published figures beside ours."""

import csv
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from train.evaluation import study, tables
from train.runs.config import RunConfig, read_config
from train.runs.run import PREDICTIONS, RESULT, RUN, Result, Run

AUS = ("AU01", "AU02", "AU04", "AU06", "AU07", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24")


def made(out: Path, config: RunConfig, f1: float, aus: tuple[str, ...] = AUS, right: float = 0.8) -> None:
    """A finished run of three folds that reached `f1` in every AU; its predictions are right in that share."""
    rng = np.random.default_rng(0)
    out.mkdir(parents=True)
    (out / RUN).write_bytes(msgspec.json.encode(Run("0a1b2c3d", config, "")))
    scores: dict[str, list[float | None]] = {
        name: [f1] * len(aus) for name in ("f1", "accuracy", "auc", "icc", "always")
    }
    for k in range(3):
        result = Result("0a1b2c3d", f"fold{k + 1}", aus, 10, 90, 1.0, "CPU", {"honest_selected": scores}, 0.5, 0.0)
        folder = out / result.fold
        folder.mkdir()
        (folder / RESULT).write_bytes(msgspec.json.encode(result))
        truth = (np.random.default_rng(k).random((90, len(aus))) < 0.3).astype(np.int8)
        said = np.where(rng.random(truth.shape) < right, truth, 1 - truth).astype(np.float32)
        subject = np.repeat([f"p{i}" for i in range(9)], 10)
        np.savez(folder / PREDICTIONS, occurrence=truth, subject=subject, honest_selected=said)


_SHORT = {"clp": 3, "clef-bp4dplus": 1}  # the sources say no more


@pytest.mark.parametrize("name", tables.names())
def test_every_table_has_its_rows_and_recipes(name: str) -> None:
    table = tables.read_table(name)
    assert len(table.rows) >= _SHORT.get(name, 5)
    for row in table.rows:
        if row.config:
            config = read_config(tables._CONFIGS / row.config)
            assert Path(config.out).name == Path(row.config).stem
    text = tables.markdown(table)
    assert "ours: not run" in text
    assert text.count("\n| ") == len(table.rows) + 1 + sum(bool(row.config) for row in table.rows)


def test_published_figures_are_the_papers() -> None:
    rows = {row.name: row.published for row in tables.read_table("table2").rows}
    assert (rows["AUNCE"]["avg"], rows["MEGraph"]["avg"]) == (66.1, 65.5)
    shares = {row.name: row.published["avg"] for row in tables.read_table("table8").rows}
    assert shares["p = 0.15 / 0.15 / 0.7 / 0"] == 66.1


def test_a_run_stands_below_its_published_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = read_config(tables._CONFIGS / "aunce" / "bp4d.yaml")
    made(Path(config.out), config, 60.0)
    table = tables.read_table("table2")
    lines = tables.markdown(table).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("| AUNCE |"))
    assert lines[at + 1].startswith("| ours, run 0a1b2c3d, 3 of 3 folds | 60.0 |")
    assert "| -6.1 |" in lines[at + 2]  # 60.0 - 66.1
    tables.write_csv(table, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = {(row["method"], row["column"]): row for row in csv.DictReader(file)}
    assert rows["AUNCE", "avg"] == {
        "method": "AUNCE", "column": "avg", "published": "66.10", "ours": "60.00", "difference": "-6.10",
        "best_test": "", "run": "0a1b2c3d",
    }  # fmt: skip
    assert rows["MEGraph", "avg"]["ours"] == ""
    made_otherwise = msgspec.structs.replace(config, epochs=1)
    (Path(config.out) / RUN).write_bytes(msgspec.json.encode(Run("0a1b2c3d", made_otherwise, "")))
    assert "changed recipe" in tables.markdown(table)
    tables.write_plot(table, tmp_path / "table.png")
    assert cv2.imread(str(tmp_path / "table.png")) is not None


def test_a_study_names_what_was_not_run_and_compares_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    aus = ("AU01", "AU02")
    for name, f1, right in (("components_a", 50.0, 0.7), ("components_b", 60.0, 0.95), ("simclr", 40.0, 0.7)):
        config = read_config(study.SYNTH.folder / f"{name}.yaml")
        made(Path(config.out), config, f1, aus, right)
    text = study.markdown(study.SYNTH)
    assert "Not run: aunce_official, aunce_paper, components_c, components_d, hcl, moco, start, supcon, wce." in text
    assert text.index("| components_b | 3 | 60.0 |") < text.index("| simclr | 3 | 40.0 |")
    (weights,) = [line for line in text.splitlines() if line.startswith("| weights w: B - A")]
    assert weights.startswith("| weights w: B - A | +10.0 | +")
    assert "| yes | +10.0 |" in weights
    assert weights.endswith("| +0.9 |")
    assert "| AUNCE (code) against SimCLR | not run |" in text
    study.write_plot(study.SYNTH, tmp_path / "study.png")
    assert cv2.imread(str(tmp_path / "study.png")) is not None
