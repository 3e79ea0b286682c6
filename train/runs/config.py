"""One YAML file, one whole run; `key=value` on the command line changes single keys of it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rtau.errors import ConfigError
from train.data.corpora.augment import Augmentation
from train.methods.aunce import AUNCEConfig
from train.methods.clef import CLEFActivitiesConfig, CLEFConfig, CLEFExpressionsConfig
from train.methods.clile import CLILEConfig, ILEConfig
from train.methods.clp import CLPConfig
from train.methods.moco import MoCoConfig
from train.methods.simclr import SimCLRConfig
from train.methods.supcon import SupConConfig
from train.methods.wce import WCEConfig
from train.models.encoder import EncoderConfig

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]

MethodConfig = (  # by `name`
    AUNCEConfig | MoCoConfig | SimCLRConfig | SupConConfig | WCEConfig
    | ILEConfig | CLILEConfig | CLPConfig | CLEFActivitiesConfig | CLEFConfig | CLEFExpressionsConfig
)  # fmt: skip


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which frames, and what is done to them for a study. Test labels are never made noisy."""

    index: str  # folder that `python -m tools.index_corpus` wrote
    protocol: str  # see train.data.corpora.index.folds
    aus: tuple[str, ...] = ()  # columns such as AU01; none: all of the corpus
    resolution: Count = 0  # pictures are shrunk to this side and kept in memory; 0: read from disk as they are
    middle: Annotated[float, Meta(gt=0, le=1)] = 1.0  # with `resolution`: share of a picture's side that is kept
    thin_to: dict[str, Share] = {}  # frames are left out until each of these AUs is present in this share of the rest
    noise: Share = 0.0  # share of known training labels that are flipped
    people: Count = 0  # training subjects, drawn by the seed; 0: all
    labelled: Annotated[float, Meta(gt=0, le=1)] = 1.0  # share of the training frames, drawn by the seed
    leave_out: tuple[str, ...] = ()  # expressions whose frames are left out


class SamplerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How frames come together in a batch: train/data/corpora/samplers.py, clips.py."""

    kind: Literal["shuffle", "label_aware", "subject_balanced", "activities", "expressions", "clips"] = "shuffle"
    activities: Positive = 8  # of `activities`: how many a batch; images of each are batch / activities
    length: Positive = 8  # of `clips`: frames; a batch then counts clips, of distinct subjects
    stride: Positive = 2


class ProbeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Linear evaluation (train/runs/probe.py)."""

    ways: tuple[Literal["honest", "official"], ...] = ("honest",)
    epochs: Positive = 100
    batch: Positive = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    batch_norm: bool = False  # in front of the linear layer
    augmentation: Augmentation | None = None  # of `official`, which trains on random views; None: the run's
    held_out: Share = 0.2  # of `honest`: share of the training subjects that choose the epoch


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A method on a corpus: train on each fold, evaluate each fold, report the mean."""

    data: DataConfig
    encoder: EncoderConfig
    method: MethodConfig
    augmentation: Augmentation = Augmentation()
    sampler: SamplerConfig = SamplerConfig()
    batch: Positive  # images (or clips) a step, over all devices; every one gives as many views as the method wants
    epochs: Count  # 0: nothing is trained, `initial` is evaluated
    steps: Count = 0  # in all, whatever `epochs` says; 0: whole epochs
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"  # `step`: a tenth in the last epoch, as AUNCE's code
    initial: str = ""  # folder of an earlier run with the same folds, or a .safetensors file, to start from
    probe: ProbeConfig = ProbeConfig()
    folds: tuple[Positive, ...] = ()  # none: all of the protocol
    keep_every: Count = 0  # epochs between kept networks, which `official` probes too; 0: the last only
    save_every: Positive = 500  # steps between checkpoints
    log_every: Positive = 50  # steps between log lines
    seed: Count = 3407
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Positive = 1
    nodes: Positive = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    workers: Count = 0  # processes that load and augment
    out: str  # folder of the results


_LATER = {"middle": 1.0, "people": 0, "labelled": 1.0, "leave_out": ()}  # keys of `data` that runs before them lack
# These change no figure of a fold.
_NO_RESULT = ("folds", "accelerator", "devices", "nodes", "workers", "save_every", "log_every", "out")


def read_config(path: Path, changes: Sequence[str] = ()) -> RunConfig:
    """The run of a file, with changes such as `encoder.backbone=light`. Raises ConfigError naming file and key."""
    try:
        raw = msgspec.yaml.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected keys and values")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"{change}: expected key=value, such as batch=64 or encoder.backbone=light")
        _set(raw, key.split("."), msgspec.yaml.decode(value.encode()) if value else "", change)
    try:
        return msgspec.convert(raw, RunConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


def run_hash(config: RunConfig, index_sha256: str) -> str:
    """Eight digits that tell runs apart: everything that changes the figures, and the index they were trained on."""
    raw = msgspec.to_builtins(config)
    for key in _NO_RESULT:
        raw.pop(key)
    raw["data"] = {key: value for key, value in raw["data"].items() if key not in _LATER or value != _LATER[key]}
    text = msgspec.json.encode([raw, index_sha256], order="sorted")
    return hashlib.sha256(text).hexdigest()[:8]


def _set(raw: dict[str, object], keys: list[str], value: object, change: str) -> None:
    for key in keys[:-1]:
        inner = raw.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{change}: {key} holds no keys")
        raw = inner
    raw[keys[-1]] = value
