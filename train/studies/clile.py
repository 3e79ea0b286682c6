"""Does CL-ILE help on people that nobody trained on, when it trained on few? And what of the person is left?

Stills of 192 rendered people, 64 of them for testing; 8, 16, 32 or 64 of the others train. `entropy` is the same
network and head with the classification term alone, `contrast` adds the contrast with AU embeddings, `clile` also the
elimination. The identity probe is linear and asks which of the 64 test people a picture shows.
"""

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from train.methods.clile import CLILEConfig, ILEConfig
from train.runs.config import ProbeConfig, RunConfig
from train.runs.probe import look
from train.runs.run import read_trained, run
from train.studies.grid import SCORES, SEEDS, STILLS, done, over_seeds, pictures, score, small, table

PEOPLE = (8, 16, 32, 64)
VARIANTS = ("entropy", "contrast", "clile")
_WIDTH = 128
_PROBE = "identity.json"


class _Probe(msgspec.Struct, frozen=True):
    accuracy: float  # percent


class Cell(NamedTuple):
    people: int
    variant: str  # or "ile", stage 1
    seed: int

    @property
    def config(self) -> RunConfig:
        data = pictures(STILLS, "subjects-3", people=self.people)
        out, common = f"clile/{self.people}_{self.variant}", {"folds": (1,)}
        if self.variant == "ile":
            return small(out, self.seed, data, ILEConfig(width=_WIDTH), probe=ProbeConfig(ways=()), **common)
        method, initial = CLILEConfig(width=_WIDTH), ""
        if self.variant == "clile":
            initial = self._replace(variant="ile").config.out
        else:
            contrast = float(self.variant == "contrast")
            method = CLILEConfig(width=_WIDTH, contrast=contrast, eliminate="nothing")
        return small(out, self.seed, data, method, initial=initial, probe=ProbeConfig(ways=()), **common)


def measure(seed: int) -> None:
    """What is missing of a seed."""
    for people in reversed(PEOPLE):
        for variant in ("ile", *VARIANTS):
            config = Cell(people, variant, seed).config
            probed = Path(config.out) / _PROBE
            if not done(config):
                run(config)
            if not probed.exists():
                probed.write_bytes(msgspec.json.encode(_Probe(_probe(config))))


def report() -> str:
    """Tables of what is measured."""
    cells = {(p, v): [Cell(p, v, seed).config for seed in SEEDS] for p in PEOPLE for v in ("ile", *VARIANTS)}
    lines = ["### CL-ILE with few training people", __doc__.split("\n\n", 1)[1].strip()] if __doc__ else []
    for what, name in SCORES:
        rows = [[p, *(score(cells[p, v], "own", what) for v in VARIANTS)] for p in PEOPLE]
        lines += [f"{name}, percent, on unseen people:", table(["people", *VARIANTS], rows)]
    gains = [[p, *(_gain(cells[p, v], cells[p, w]) for v, w in _PAIRS)] for p in PEOPLE]
    lines += ["ROC-AUC gained, seed by seed:", table(["people", *(f"{v} over {w}" for v, w in _PAIRS)], gains)]
    probes = [[p, *(over_seeds(_probes(cells[p, v])) for v in ("ile", *VARIANTS))] for p in PEOPLE]
    lines += [
        "Identity probe on the features, accuracy in percent (chance 1.6); elimination should lower it:",
        table(["people", "stage 1 (F^ID)", *VARIANTS], probes),
    ]
    return "\n\n".join(lines)


_PAIRS = (("clile", "entropy"), ("clile", "contrast"))


def _gain(ours: list[RunConfig], others: list[RunConfig]) -> str:
    pairs = [(a, b) for a, b in zip(ours, others, strict=True) if done(a) and done(b)]
    values = over_seeds([score([a], "own", "auc").mean - score([b], "own", "auc").mean for a, b in pairs])
    return str(values)


def _probes(configs: list[RunConfig]) -> list[float]:
    paths = [Path(config.out) / _PROBE for config in configs]
    return [msgspec.json.decode(path.read_bytes(), type=_Probe).accuracy for path in paths if path.exists()]


def _probe(config: RunConfig) -> float:
    _, data, fold, method, _ = read_trained(Path(config.out), "fold1")
    seen = look(config, data, fold.test, method, Fabric(accelerator="cpu")).features.numpy()
    return identity_probe(seen, data.corpus.subject[fold.test])


def identity_probe(features: NDArray[np.floating], subject: NDArray[np.str_]) -> float:
    """How well a linear (ridge) classifier tells subjects (F,) apart by features (F, C), percent.

    It learns from every other frame of each subject and is asked about the rest, then the other way round.
    """
    odd = np.zeros(len(subject), bool)
    for who in np.unique(subject):
        odd[np.flatnonzero(subject == who)[1::2]] = True
    right = 0
    for learn, ask in ((odd, ~odd), (~odd, odd)):
        scaler = StandardScaler().fit(features[learn])
        probe = RidgeClassifier(alpha=10.0).fit(scaler.transform(features[learn]), subject[learn])
        right += int((probe.predict(scaler.transform(features[ask])) == subject[ask]).sum())
    return 100 * right / len(subject)
