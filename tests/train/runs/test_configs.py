"""Every recipe in configs/train/ that `python -m train run` takes, for two steps on a small corpus."""

from pathlib import Path

import msgspec
import pytest

from train.runs.config import read_config
from train.runs.run import run

CONFIGS = Path(__file__).parents[3] / "configs" / "train"
RECIPES = sorted(path for path in CONFIGS.glob("*/*.yaml") if "method" in msgspec.yaml.decode(path.read_bytes()))
SMALL = (
    "encoder.backbone=light", "encoder.weights=", "encoder.channels=8", "data.resolution=40", "augmentation.size=32",
    "batch=8", "epochs=1", "steps=2", "folds=[1]", "keep_every=0", "workers=0", "probe.epochs=1", "data.thin_to={}",
)  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recipe_runs(recipe: Path, tmp_path: Path, corpora: dict[str, Path]) -> None:
    index = corpora[Path(read_config(recipe).data.index).name]
    changes = [*SMALL, f"data.index={index}", f"out={tmp_path}"]
    if "augmentation" in msgspec.yaml.decode(recipe.read_bytes()).get("probe", {}):
        changes.append("probe.augmentation.size=32")
    (result,) = run(read_config(recipe, changes))
    assert result.scores
    for way in result.scores.values():
        assert len(way["f1"]) == len(result.aus)


def test_there_are_recipes() -> None:
    assert len(RECIPES) > 30
