"""A small stage 1 run of CL-ILE becomes an artifact; its AU embeddings' matrix is drawn."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from rtau.models import load_artifact
from train.data.corpora.augment import Augmentation
from train.data.corpora.index import read_index, write_index
from train.evaluation.au_correlation import au_correlation, draw, label_correlation
from train.methods.clile import CLILEConfig, ILEConfig
from train.models.encoder import EncoderConfig
from train.runs.config import DataConfig, ProbeConfig, RunConfig
from train.runs.export import export
from train.runs.run import read_trained, run


def config(index: Path, out: Path, method: ILEConfig | CLILEConfig) -> RunConfig:
    return RunConfig(
        data=DataConfig(index=str(index), protocol="disfa-3fold", resolution=40),
        encoder=EncoderConfig(backbone="light"),
        method=method,
        augmentation=Augmentation(size=32),
        batch=8,
        epochs=1,
        steps=2,
        learning_rate=1e-3,
        folds=(1,),
        probe=ProbeConfig(ways=()),
        accelerator="cpu",
        out=str(out),
    )


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's exporter
def test_the_identity_artifact_gives_what_the_encoder_of_stage_1_gives(
    tmp_path: Path, corpora: dict[str, Path]
) -> None:
    places = ((33, 102.4, 128.0), (263, 153.6, 128.0))  # of 256 pixels
    write_index(read_index(corpora["disfa"]), tmp_path / "index", template=places)
    run(config(tmp_path / "index", tmp_path / "run", ILEConfig(width=16)))
    export(tmp_path / "run", "fold1", tmp_path / "artifact")
    artifact = load_artifact(str(tmp_path / "artifact"), "identity")
    assert artifact.card.template == ((33, 12.0, 16.0), (263, 20.0, 16.0))  # 40 px, of which the middle 32
    assert artifact.card.aus == ()
    images = torch.randn(3, 3, 32, 32)
    (given,) = onnxruntime.InferenceSession(str(artifact.onnx)).run(None, {"image": images.numpy()})
    with torch.no_grad():
        seen = read_trained(tmp_path / "run", "fold1").method.features(images).numpy()
    np.testing.assert_allclose(given, seen / np.linalg.norm(seen, axis=1, keepdims=True), atol=1e-4)


def test_the_matrix_of_au_embeddings(tmp_path: Path, corpora: dict[str, Path]) -> None:
    run(config(corpora["disfa"], tmp_path / "run", CLILEConfig(width=16, eliminate="nothing")))
    found = au_correlation(tmp_path / "run")
    assert found.aus[0] == "AU01"
    np.testing.assert_allclose(np.diag(found.embeddings), 1)
    assert found.embeddings.shape == found.labels.shape == (8, 8)
    draw(found, tmp_path / "matrix.png")
    assert cv2.imread(str(tmp_path / "matrix.png")) is not None


def test_labels_correlate_over_the_frames_where_both_are_known() -> None:
    labels = np.array([[1, 1, 0], [0, 0, 1], [1, -1, 0], [0, 0, 1], [1, 1, 1]], np.int8)
    known = labels[labels[:, 1] >= 0].astype(float)
    np.testing.assert_allclose(label_correlation(labels)[0, 1], np.corrcoef(known[:, 0], known[:, 1])[0, 1])
    np.testing.assert_allclose(label_correlation(labels)[0, 2], np.corrcoef(labels[:, 0], labels[:, 2])[0, 1])
