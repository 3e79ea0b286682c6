"""Every recipe in configs/train/ that `python -m train run` takes, for two steps on a small corpus."""

from pathlib import Path

import msgspec
import pytest

from train.data.text_table import hashed, known_strings, write_text_table
from train.methods.clef import CLEFExpressionsConfig
from train.runs.config import read_config
from train.runs.run import Result, run

CONFIGS = Path(__file__).parents[3] / "configs" / "train"
RECIPES = sorted(path for path in CONFIGS.glob("*/*.yaml") if "method" in msgspec.yaml.decode(path.read_bytes()))
SMALL = (
    "encoder.backbone=light", "encoder.weights=", "encoder.channels=8", "data.resolution=40", "augmentation.size=32",
    "batch=8", "epochs=1", "steps=2", "folds=[1]", "keep_every=0", "workers=0", "probe.epochs=1", "data.thin_to={}",
)  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs are that others start from."""
    root = tmp_path_factory.mktemp("runs")
    write_text_table(root / "texts.npz", hashed(known_strings(), 16))
    return root


def small_run(recipe: Path, out: Path, corpora: dict[str, Path], done: Path) -> Result:
    """A recipe in two steps, after the recipes that it starts from."""
    raw = msgspec.yaml.decode(recipe.read_bytes())
    config = read_config(recipe)
    changes = [*SMALL, f"data.index={corpora[Path(config.data.index).name]}", f"out={out}"]
    if "augmentation" in raw.get("probe", {}):
        changes.append("probe.augmentation.size=32")
    if config.epochs == 0:
        changes += ["epochs=0", "steps=0"]
    if "texts" in raw["method"]:
        changes.append(f"method.texts={done / 'texts.npz'}")
    if config.sampler.kind == "activities":
        changes.append("sampler.activities=2")
    if config.sampler.kind == "clips":
        changes.append("sampler.length=4")
    if config.initial:
        place = Path(config.initial).relative_to("runs")
        earlier = done / Path(*place.parts[:2])
        if not earlier.exists():
            small_run(CONFIGS / f"{Path(*place.parts[:2])}.yaml", earlier, corpora, done)
        changes.append(f"initial={done / place}")
    (result,) = run(read_config(recipe, changes))
    return result


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recipe_runs(recipe: Path, tmp_path: Path, corpora: dict[str, Path], done: Path) -> None:
    result = small_run(recipe, tmp_path, corpora, done)
    method = read_config(recipe).method
    assert bool(result.scores) == (bool(result.aus) and bool(result.test_frames))
    assert (result.expressions is not None) == isinstance(method, CLEFExpressionsConfig)
    for way in result.scores.values():
        assert len(way["f1"]) == len(result.aus)


def test_there_are_recipes() -> None:
    assert len(RECIPES) > 30
