"""A whole run: every fold trained and evaluated, results beside the networks. Each part that is done is not done again.

OUT/run.json                 config, hash, commit
OUT/foldK/result.json        scores of each way of evaluation
OUT/foldK/predictions.npz    what was said of every test frame
OUT/foldK/network.safetensors, log.csv, curves.png, tensorboard/
"""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from numpy.typing import NDArray

from rtau.errors import ConfigError
from train.data.corpora.index import Fold
from train.methods.clile import CLILEConfig
from train.metrics import Scores, scores
from train.runs.checkpoint import read_net, save_net
from train.runs.config import RunConfig, run_hash
from train.runs.data import Data, epoch_steps, expressions, load, setting, test_batches
from train.runs.fit import NETWORK, fit
from train.runs.method import Method
from train.runs.probe import Looked, collapse, honest, kept_networks, look, official

RUN, RESULT, PREDICTIONS, PROBE = "run.json", "result.json", "predictions.npz", "probe.safetensors"
_EVALUATION = timedelta(days=14)  # the other devices wait for it, while the first one evaluates
OWN = "own"  # way of evaluation: the method's own head


class Run(msgspec.Struct, frozen=True):
    """`run.json`."""

    hash: str
    config: RunConfig
    commit: str  # of the code; "" where git does not tell


class Result(msgspec.Struct, frozen=True):
    """`result.json` of a fold. Ways of evaluation are `own`, `honest_selected`, `official_best_test` and so on."""

    hash: str
    fold: str
    aus: tuple[str, ...]
    train_frames: int
    test_frames: int
    minutes: float  # of training
    device: str
    scores: dict[str, dict[str, list[float | None]]]  # way: score (train.metrics.Scores): one an AU, percent
    alike: float | None = None  # mean cosine of two test frames' features of one AU: 1 is collapse
    silent: float | None = None  # share of features that are all zero
    expressions: float | None = None  # top-1 accuracy in percent, of methods that tell them apart


def run(config: RunConfig) -> list[Result]:
    """Train and evaluate what is not done yet. Raises ConfigError or CorpusError before anything is built."""
    data = load(config)
    name = run_hash(config, data.sha256)
    out = Path(config.out)
    for fold in data.folds:  # fails here rather than after the first fold
        epoch_steps(config, data, fold)
        _initial(config, fold)
    _claim(out, name, config)
    many = config.devices * config.nodes > 1
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        precision=config.precision,
        strategy=DDPStrategy(forward_sync_buffers=False, timeout=_EVALUATION) if many else "auto",
    )
    fabric.launch()
    return [_fold(config, data, fold, fabric, out / fold.name, name) for fold in data.folds]


def build(config: RunConfig, data: Data, fold: Fold) -> Method:
    """The method of a run as it begins: the seed alone decides about its weights."""
    torch.manual_seed(config.seed)
    initial = _initial(config, fold)
    method = config.method.build(setting(config, data, fold))
    if initial is not None:
        method.start_from(read_net(initial))
    return method


class Trained(NamedTuple):
    """A fold of a finished run."""

    run: Run
    data: Data
    fold: Fold
    method: Method  # in evaluation mode
    result: Result


def read_trained(out: Path, name: str) -> Trained:
    """Fold `name` of the run in `out`, as it ended. Raises ConfigError where it is not finished."""
    run, results = read_run(out), {result.fold: result for result in read_results(out)}
    if name not in results:
        raise ConfigError(f"{out}: {name} is not finished; finished are {', '.join(results) or 'none'}")
    config = msgspec.structs.replace(run.config, folds=(), initial="", out=str(out))
    data = load(config)
    fold = next(each for each in data.folds if each.name == name)
    method = config.method.build(setting(config, data, fold))
    method.net.load_state_dict(read_net(out / name / NETWORK))
    return Trained(run, data, fold, method.eval(), results[name])


def read_run(out: Path) -> Run:
    """`run.json`. Raises ConfigError where there is none."""
    path = out / RUN
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; train it with `python -m train run`") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}; it is of another version") from error


def read_results(out: Path) -> list[Result]:
    """Of the folds that are done, in order."""
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(out.glob(f"*/{RESULT}"))]


def made_by(config: RunConfig) -> bool:
    """Whether the run in `config.out` is of this very recipe, wherever its index and its ImageNet weights were."""
    if not (Path(config.out) / RUN).exists():
        return False
    there = read_run(Path(config.out)).config
    data = msgspec.structs.replace(there.data, index=config.data.index)
    encoder = msgspec.structs.replace(there.encoder, weights=config.encoder.weights)
    return run_hash(msgspec.structs.replace(there, data=data, encoder=encoder), "") == run_hash(config, "")


def _claim(out: Path, name: str, config: RunConfig) -> None:
    """Note in `out` whose it is; another run's folder is refused."""
    if (out / RUN).exists():
        there = read_run(out).hash
        if there != name:
            raise ConfigError(f"{out}: holds run {there}, this is {name}; remove it or choose another `out`")
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / RUN).write_bytes(msgspec.json.format(msgspec.json.encode(Run(name, config, _commit()))))


def _fold(config: RunConfig, data: Data, fold: Fold, fabric: Fabric, folder: Path, name: str) -> Result:
    path = folder / RESULT
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Result)
    method = build(config, data, fold)
    minutes = 0.0
    if (folder / NETWORK).exists():
        method.net.load_state_dict(read_net(folder / NETWORK))
        fabric.to_device(method)
    else:
        minutes = fit(config, data, fold, method, fabric, folder, name)
    result = Result(
        name, fold.name, data.corpus.aus, len(fold.train), len(fold.test), round(minutes, 2), _device(fabric), {}
    )
    if fabric.is_global_zero:
        said = dict[str, NDArray[np.float32]]()
        if len(fold.test) and data.corpus.aus:
            tested = look(config, data, fold.test, method, fabric)
            alike, silent = collapse(tested.features)
            result = msgspec.structs.replace(result, alike=round(alike, 4), silent=round(silent, 4))
            said = _evaluate(config, data, fold, method, fabric, folder, tested)
        truth, intensity = data.corpus.occurrence[fold.test], data.corpus.intensity[fold.test]
        for way, probability in said.items():
            result.scores[way] = _plain(scores(probability, truth, intensity))
        accuracy = _expressions(config, data, fold, method, fabric) if len(fold.test) else None
        result = msgspec.structs.replace(result, expressions=accuracy)
        told: dict[str, NDArray[np.generic]] = {
            "rows": fold.test, "occurrence": truth, "subject": data.corpus.subject[fold.test], **said
        }  # fmt: skip
        np.savez(folder / PREDICTIONS, **told)  # type: ignore[arg-type]
        path.with_suffix(".tmp").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
        path.with_suffix(".tmp").replace(path)
    fabric.barrier()
    return result


def _evaluate(
    config: RunConfig, data: Data, fold: Fold, method: Method, fabric: Fabric, folder: Path, tested: Looked
) -> dict[str, NDArray[np.float32]]:
    """Way of evaluation: probabilities (F, N) of the test frames."""
    said = {OWN: tested.own} if tested.own is not None else {}
    if "honest" in config.probe.ways:
        found, classifier = honest(config, data, fold, method, fabric, tested)
        save_net(folder / PROBE, classifier)
        said |= {f"honest_{epoch}": probability for epoch, probability in found.items()}
    if "official" in config.probe.ways:
        best, last = -1.0, dict[str, NDArray[np.float32]]()
        last_kept = f"epoch_{config.epochs:03d}.safetensors"  # the same as NETWORK
        kept = [path for path in kept_networks(folder) if config.steps or path.name != last_kept]
        for network in [*kept, folder / NETWORK]:  # ends with the last one
            if network.exists():
                method.net.load_state_dict(read_net(network))
            found = official(config, data, fold, method, fabric)
            reached = scores(found["best_test"], data.corpus.occurrence[fold.test], data.corpus.intensity[fold.test])
            if float(reached.f1.mean()) > best:
                best, last["official_best_test"] = float(reached.f1.mean()), found["best_test"]
            last["official_last"] = found["last"]
        said |= last
    return said


def _expressions(config: RunConfig, data: Data, fold: Fold, method: Method, fabric: Fabric) -> float | None:
    """Share of the test frames of known expression that are recognised, in percent."""
    method.eval()
    right, asked, truth = 0, 0, torch.from_numpy(expressions(data, fold))
    with torch.no_grad(), fabric.autocast():
        for batch in test_batches(config, data, fold.test, 256):
            said = method.classify(fabric.to_device(batch.images[0]))
            if said is None:
                return None
            own = truth[torch.from_numpy(batch.rows)]
            right += int((said.argmax(dim=1).cpu() == own).sum())
            asked += int((own >= 0).sum())
    return round(100 * right / max(asked, 1), 3)


def _initial(config: RunConfig, fold: Fold) -> Path | None:
    """The file that a fold starts from: the same fold's network of an earlier run, or the one given."""
    if not config.initial:
        if isinstance(config.method, CLILEConfig) and config.method.eliminate == "orthogonality":
            raise ConfigError(
                "initial: clile eliminates what its stage 1 finds, so it needs the folder of an `ile` run"
            )
        if config.steps == 0 and config.epochs == 0:
            raise ConfigError("epochs: 0 trains nothing, so it needs `initial`")
        return None
    given = Path(config.initial)
    if not given.is_dir():
        if not given.is_file():
            raise ConfigError(f"initial: {given}: no such file or folder")
        return given
    own = [given / fold.name / NETWORK, given / "all" / NETWORK]
    found = [path for path in own if path.is_file()]
    if not found:
        raise ConfigError(f"initial: {own[0]} is not there; train {given} first")
    return found[0]


def _plain(found: Scores) -> dict[str, list[float | None]]:
    return {
        name: [None if np.isnan(value) else round(float(value), 3) for value in values]
        for name, values in found._asdict().items()
    }


def _device(fabric: Fabric) -> str:
    if fabric.device.type == "cuda":
        return f"{fabric.world_size} x {torch.cuda.get_device_name(fabric.device)}"
    return f"CPU, {torch.get_num_threads()} threads"


def _commit() -> str:
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
