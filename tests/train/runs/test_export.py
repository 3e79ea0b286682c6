"""A finished run becomes weights that rtau runs."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rtau.config import PipelineConfig, RuntimeConfig
from rtau.errors import ConfigError
from rtau.models import load_artifact
from rtau.process import Job, run_job
from tests.rtau.film import picture
from tests.train.data.corpora.trees import made_up
from tests.train.runs.test_run import changed, written
from train.data.corpora.align import STABLE_POINTS
from train.data.corpora.augment import Augmentation, centre
from train.data.corpora.index import read_index, write_index
from train.data.corpora.memory import shrunk
from train.evaluation.tsne import draw
from train.runs.config import DataConfig
from train.runs.export import export, placed
from train.runs.run import run

TEMPLATE = tuple(
    (i, x, y)
    for i, (x, y) in zip(
        STABLE_POINTS,
        [(85, 100), (110, 100), (146, 100), (171, 100), (128, 98), (128, 110), (128, 150), (115, 146), (141, 146)],
        strict=True,
    )
)


@pytest.fixture(scope="module")
def aligned(corpora: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The DISFA of the tests, as if rtau's landmarks had aligned it."""
    folder = tmp_path_factory.mktemp("aligned")
    write_index(read_index(corpora["disfa"]), folder, template=TEMPLATE)
    return {"disfa": folder}


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:# The axis name:UserWarning")  # torch's exporter
@pytest.mark.parametrize("method", ["{name: aunce, preset: paper}", "{name: wce, head: two_layers}"])
def test_rtau_runs_what_was_trained(tmp_path: Path, aligned: dict[str, Path], method: str) -> None:
    run(changed(written(tmp_path, aligned), f"method={method}", "epochs=1"))
    export(tmp_path / "out", "fold1", tmp_path / "weights")
    card = load_artifact(str(tmp_path / "weights"), "au").card
    assert card.aus == ("AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26")
    assert (card.input_size, card.licence) == (32, "as the corpus: research only, not to be passed on")
    assert (tmp_path / "weights" / "model.pt2").is_file()
    cv2.imwrite(str(tmp_path / "face.png"), picture((240, 200), [(120, 100, 100, 0)])[..., ::-1])
    job = Job(
        source=str(tmp_path / "face.png"),
        out=tmp_path / "aus.csv",
        config=PipelineConfig(runtime=RuntimeConfig(processes=False)),
        weights=str(tmp_path / "weights"),
    )
    assert run_job(job).counts.faces == 1
    with (tmp_path / "aus.csv").open(newline="") as file:
        (row,) = csv.DictReader(line for line in file if not line.startswith("#"))
    assert any("AU26" in column for column in row)
    assert not any("AU05" in column for column in row if row[column])


def test_intensity_is_one_where_occurrence_is_a_half() -> None:
    from torch import Tensor

    from train.runs.export import Exported
    from train.runs.method import Method

    class Says(Method):
        def predict(self, images: Tensor) -> Tensor:
            return images.mean(dim=(1, 2, 3))[:, None]

    occurrence, intensity, _, _ = Exported(Says(), None)(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 478, 2))
    assert (occurrence.item(), intensity.item()) == (0.5, pytest.approx(1))


@pytest.mark.parametrize(
    ("resolution", "middle", "how"),
    [
        (0, 1.0, Augmentation()),
        (80, 1.0, Augmentation(size=64)),
        (112, 0.7, Augmentation(size=96)),
        (0, 1.0, Augmentation(size=112, crop=(0.8, 1.0))),
    ],
)
def test_the_template_is_where_the_centre_crop_shows_the_point(
    tmp_path: Path, resolution: int, middle: float, how: Augmentation
) -> None:
    x, y = 160, 100
    big = np.zeros((256, 256, 3), np.uint8)
    big[y - 3 : y + 4, x - 3 : x + 4] = 255
    cv2.imwrite(str(tmp_path / "0.png"), big)
    corpus = made_up(1, 1)._replace(paths=["0.png"], root=tmp_path)
    seen = shrunk(corpus, tmp_path, "key", resolution, middle)(0) if resolution else big
    shown = centre(seen, how)[1]
    bright = shown - shown.min()
    rows, columns = np.mgrid[: how.size, : how.size] + 0.5
    where = [float((bright * axis).sum() / bright.sum()) for axis in (columns, rows)]
    data = DataConfig(index="", protocol="all", resolution=resolution, middle=middle)
    assert placed(np.array([[33, x + 0.5, y + 0.5]]), data, how)[0, 1:].tolist() == pytest.approx(where, abs=0.3)


def test_an_index_without_a_template_is_refused(tmp_path: Path, corpora: dict[str, Path]) -> None:
    run(changed(written(tmp_path, corpora), "epochs=1"))
    with pytest.raises(ConfigError, match="--faces found"):
        export(tmp_path / "out", "fold1", tmp_path / "weights")
    with pytest.raises(ConfigError, match="fold2 is not finished; finished are fold1"):
        export(tmp_path / "out", "fold2", tmp_path / "weights")
    draw(tmp_path / "out", "fold1", tmp_path / "plane.png", 12)
    drawn = cv2.imread(str(tmp_path / "plane.png"))
    assert drawn is not None
    assert drawn.std() > 5
