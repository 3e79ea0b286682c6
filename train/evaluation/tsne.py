"""Features in the plane: van der Maaten and Hinton, JMLR 9, 2008; as Figure 4 of AUNCE, a panel an AU."""

from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from matplotlib.figure import Figure

from train.runs.probe import look
from train.runs.run import read_trained

_COLUMNS = 4


def draw(out: Path, fold: str, plot: Path, frames: int) -> None:
    """Test frames of a finished fold: each AU's own features, or the shared ones, coloured by its label."""
    from sklearn.manifold import TSNE

    trained = read_trained(out, fold)
    rows = np.random.default_rng(0).permutation(trained.fold.test)[:frames]
    fabric = Fabric(accelerator="auto", devices=1)
    fabric.to_device(trained.method)
    features = look(trained.run.config, trained.data, np.sort(rows), trained.method, fabric).features.numpy()
    labels, aus = trained.data.corpus.occurrence[np.sort(rows)], trained.data.corpus.aus
    perplexity = min(30, (len(rows) - 1) // 3)
    lines = -(-len(aus) // _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS, 3 * lines), layout="constrained")
    shared = None
    for a, au in enumerate(aus):
        if features.ndim == 2 and shared is not None:
            places = shared
        else:
            own = features if features.ndim == 2 else features[:, a]
            places = shared = TSNE(perplexity=perplexity, random_state=0, init="pca").fit_transform(own)
        panel = figure.add_subplot(lines, _COLUMNS, a + 1)
        for value, name, colour in ((0, "absent", "0.7"), (1, "present", "C3")):
            shown = labels[:, a] == value
            panel.scatter(places[shown, 0], places[shown, 1], s=4, c=colour, label=name)
        panel.set(title=au, xticks=[], yticks=[])
    figure.axes[0].legend(loc="best", fontsize="small")
    figure.savefig(plot, dpi=100)
