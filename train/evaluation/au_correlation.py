"""Which AUs CL-ILE holds alike: cosines of its AU embeddings, beside how often the labels go together."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rtau.errors import ConfigError
from train.methods.clile import CLILEConfig
from train.runs.checkpoint import read_net
from train.runs.data import load
from train.runs.fit import NETWORK
from train.runs.run import read_run

Float = NDArray[np.float64]


class Correlation(NamedTuple):
    aus: tuple[str, ...]  # N
    embeddings: Float  # (N, N) cosines, mean over folds
    labels: Float  # (N, N) Pearson correlation of the training labels, NaN where one never varies


def au_correlation(out: Path) -> Correlation:
    """Of a finished `clile` run. Raises ConfigError where `out` holds none.

    The poster of CL-ILE shows a correlation matrix of the AUs and does not say of what; that it is of the embeddings
    is our reading.
    """
    config = read_run(out).config
    if not isinstance(config.method, CLILEConfig):
        raise ConfigError(f"{out}: is a run of another method; AU embeddings are clile's")
    data = load(config)
    paths = [out / fold.name / NETWORK for fold in data.folds]
    tables = [read_net(path)["head.labels"].double().numpy() for path in paths]
    unit = [table / np.linalg.norm(table, axis=1, keepdims=True) for table in tables]
    rows = np.unique(np.concatenate([fold.train for fold in data.folds]))
    return Correlation(
        data.corpus.aus,
        np.mean([each @ each.T for each in unit], axis=0),
        label_correlation(data.corpus.occurrence[rows]),
    )


def label_correlation(occurrence: NDArray[np.int8]) -> Float:
    """(F, N) in {1, 0, -1 unknown} -> (N, N), each pair over the frames where both are known."""
    known = (occurrence >= 0).astype(np.float64)
    y = (occurrence == 1).astype(np.float64)
    count, both = known.T @ known, y.T @ y
    first, second = y.T @ known, known.T @ y  # presences of the row's AU, of the column's, where both are known
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = both / count - first / count * (second / count)
        spread = np.sqrt(first / count * (1 - first / count) * (second / count) * (1 - second / count))
        return np.asarray(covariance / spread)


def draw(found: Correlation, path: Path) -> None:
    """Both matrices side by side."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    parts = zip(figure.subplots(1, 2), (found.embeddings, found.labels), ("AU embeddings", "labels"), strict=True)
    for axes, matrix, title in parts:
        shown = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_xticks(range(len(found.aus)), [au[2:] for au in found.aus], fontsize=7)
        axes.set_yticks(range(len(found.aus)), found.aus, fontsize=7)
        axes.set_title(title)
    figure.colorbar(shown, ax=figure.axes, shrink=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
