"""Whole runs on small corpora."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim import Optimizer

from rtau.errors import ConfigError, Interrupted
from train.data.corpora.index import CorpusError
from train.runs import checkpoint
from train.runs.config import RunConfig, read_config
from train.runs.fit import CHECKPOINT, NETWORK
from train.runs.log import read_log
from train.runs.run import PREDICTIONS, read_results, run

CONFIG = """
data: {{index: {index}, protocol: disfa-3fold, resolution: 48}}
encoder: {{backbone: light, channels: 16}}
method: {{name: aunce, preset: paper}}
augmentation: {{size: 32}}
batch: 16
epochs: 2
learning_rate: 0.001
folds: [1]
save_every: 1
log_every: 1
probe: {{epochs: 2, batch: 16}}
out: {out}
"""


def written(folder: Path, corpora: dict[str, Path]) -> Path:
    path = folder / "run.yaml"
    path.write_text(CONFIG.format(index=corpora["disfa"], out=folder / "out"))
    return path


_THREE = ("folds=[]", "keep_every=1", "probe.ways=[honest,official]")


def changed(path: Path, *changes: str) -> RunConfig:
    return read_config(path, changes)


def test_a_run_leaves_networks_logs_curves_and_scores(tmp_path: Path, corpora: dict[str, Path]) -> None:
    results = run(changed(written(tmp_path, corpora), *_THREE))
    assert [result.fold for result in results] == ["fold1", "fold2", "fold3"]
    folder = tmp_path / "out" / "fold2"
    assert {path.name for path in folder.iterdir()} >= {
        "network.safetensors", "epoch_001.safetensors", "epoch_002.safetensors", "log.csv", "curves.png",
        "tensorboard", "result.json", "predictions.npz",
    }  # fmt: skip
    assert not (folder / CHECKPOINT).exists()
    assert [row["step"] for row in read_log(folder)] == [1, 2, 3, 4]
    assert set(results[0].scores) == {
        "honest_last", "honest_selected", "honest_best_test", "official_last", "official_best_test"
    }  # fmt: skip
    assert len(results[0].scores["honest_selected"]["f1"]) == 8
    with np.load(folder / PREDICTIONS) as said:
        assert said["honest_last"].shape == (16, 8)
    assert run(changed(written(tmp_path, corpora), *_THREE)) == results


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


def _at(step: int, happens: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen before the checkpoint of a step is written."""
    kept = checkpoint.save

    def save(path: Path, net: nn.Module, optimiser: Optimizer, progress: checkpoint.Progress) -> None:
        if progress.step == step:
            happens()
        kept(path, net, optimiser, progress)

    monkeypatch.setattr(checkpoint, "save", save)


def test_a_killed_run_ends_with_the_very_same_network(
    tmp_path: Path, corpora: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, corpora)
    whole = changed(path, f"out={tmp_path / 'whole'}", "steps=7", "schedule=cosine")
    cut = msgspec.structs.replace(whole, out=str(tmp_path / "cut"))
    run(whole)

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        _at(5, die, patch)
        with pytest.raises(Killed):
            run(cut)
    assert (tmp_path / "cut" / "fold1" / CHECKPOINT).exists()
    torch.manual_seed(99)  # another process has another generator
    run(cut)
    one, other = (load_file(tmp_path / name / "fold1" / NETWORK) for name in ("whole", "cut"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    logs = [read_log(tmp_path / name / "fold1") for name in ("whole", "cut")]
    without_speed = [[{k: v for k, v in row.items() if k != "images_s"} for row in log] for log in logs]
    assert without_speed[0] == without_speed[1]
    assert read_results(tmp_path / "whole")[0].scores == read_results(tmp_path / "cut")[0].scores


def test_a_signal_saves_and_says_how_to_go_on(
    tmp_path: Path, corpora: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _at(1, lambda: os.kill(os.getpid(), signal.SIGTERM), monkeypatch)
    with pytest.raises(Interrupted, match="stopped at step 2 of 9; the same command goes on from there"):
        run(changed(written(tmp_path, corpora), "steps=9"))
    assert (tmp_path / "out" / "fold1" / CHECKPOINT).exists()


def test_what_is_wrong_is_named_before_anything_is_built(tmp_path: Path, corpora: dict[str, Path]) -> None:
    path = written(tmp_path, corpora)
    for changes, error, text in (
        (["data.index=nowhere"], CorpusError, "nowhere/index.yaml: no index"),
        (["data.protocol=bp4d-3fold"], CorpusError, "a protocol of BP4D, not of DISFA"),
        (["folds=[4]"], ConfigError, "there is no fold 4"),
        (["data.aus=[AU01,AU99]"], ConfigError, "not AU99"),
        (["batch=64"], CorpusError, "fold1 trains on 32 frames, batch is 64"),
        (["initial=nowhere"], ConfigError, "initial: nowhere: no such file"),
        (["epochs=0"], ConfigError, "needs `initial`"),
        (["sampler.kind=label_aware", "batch=2"], ConfigError, "sampler: batches of 2 are too small"),
        (["encoder.backbone=swin_x"], ConfigError, "backbone must be one of swin_t"),
        (["metod={}"], ConfigError, "unknown field `metod`"),
        (["batch"], ConfigError, "expected key=value"),
    ):
        with pytest.raises(error, match=text.replace("(", r"\(")):
            run(changed(path, *changes))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_run_is_refused(tmp_path: Path, corpora: dict[str, Path]) -> None:
    path = written(tmp_path, corpora)
    run(changed(path))
    with pytest.raises(ConfigError, match="remove it or choose another `out`"):
        run(changed(path, "learning_rate=0.1"))
    run(changed(path, "workers=0", "log_every=7"))  # what does not change figures may differ


def test_a_second_stage_starts_from_the_first(tmp_path: Path, corpora: dict[str, Path]) -> None:
    path, first = written(tmp_path, corpora), tmp_path / "first"
    run(changed(path, f"out={first}"))
    run(changed(path, f"initial={first}", "epochs=0"))
    one, other = (load_file(folder / "fold1" / NETWORK) for folder in (first, tmp_path / "out"))
    assert all(torch.equal(one[name], other[name]) for name in one)
