"""Tables of CL-ILE, CLP and CLEF: the published figures, and our runs beside them."""

from pathlib import Path

import msgspec
import pytest

from train.evaluation import tables
from train.evaluation.tables import AVERAGE, markdown, read_table
from train.runs.config import read_config
from train.runs.run import RESULT, RUN, Result, Run


def published(table: str, row: str) -> dict[str, float]:
    return next(each.published for each in read_table(table).rows if each.name == row)


def test_the_published_averages() -> None:
    assert published("clile-bp4d", "CL-ILE")[AVERAGE] == 64.6
    assert published("clile-disfa", "CL-ILE")[AVERAGE] == 62.8
    assert [published("clp", name)[AVERAGE] for name in ("BP4D", "DISFA", "GFT")] == [62.4, 57.4, 54.3]
    assert published("clef", "RAF-DB (test)") == {"accuracy": 90.09}
    assert published("clef", "BP4D") == {AVERAGE: 65.9}
    assert published("clef-bp4dplus", "CLEF")[AVERAGE] == 63.1


@pytest.mark.parametrize("name", ["clile-bp4d", "clile-disfa", "clp", "clef", "clef-bp4dplus", "table2", "table3"])
def test_recipes_of_the_rows_are_there(name: str) -> None:
    recipes = [row.config for row in read_table(name).rows if row.config]
    assert recipes
    assert all((tables._CONFIGS / recipe).is_file() for recipe in recipes)


def test_the_accuracy_of_expressions_stands_beside_the_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(tables._CONFIGS / "clef" / "rafdb.yaml")
    out = tmp_path / config.out / "split"
    out.mkdir(parents=True)
    result = Result("12345678", "split", (), 100, 50, 1.0, "CPU", {}, expressions=88.09)
    (out / RESULT).write_bytes(msgspec.json.encode(result))
    (out.parent / RUN).write_bytes(msgspec.json.encode(Run("12345678", config, "")))
    monkeypatch.chdir(tmp_path)
    text = markdown(read_table("clef"))
    assert (
        "| RAF-DB (test) | 90.1 |  |\n| ours, run 12345678, 1 of 1 folds | 88.1 |  |\n| difference | -2.0 |  |" in text
    )
