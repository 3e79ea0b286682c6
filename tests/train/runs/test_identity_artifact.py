"""A small stage 1 run of CL-ILE becomes an artifact; its AU embeddings' matrix is drawn."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnxruntime
import pytest
import torch

from rtau.errors import ConfigError
from rtau.models import load_artifact
from train.data.corpora.augment import Augmentation
from train.data.corpora.index import read_header
from train.evaluation.au_correlation import au_correlation, draw, label_correlation
from train.methods.clile import CLILEConfig, ILEConfig
from train.models.encoder import EncoderConfig
from train.runs.config import DataConfig, ProbeConfig, RunConfig
from train.runs.data import load
from train.runs.identity_artifact import export_identity, template
from train.runs.run import run, trained


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


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # torch.onnx of torch
def test_the_artifact_gives_what_the_network_gives(
    tmp_path: Path, corpora: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = config(corpora["disfa"], tmp_path / "run", ILEConfig(width=16))
    run(own)
    with pytest.raises(ConfigError, match="does not tell where the mesh's landmarks lie"):
        export_identity(tmp_path / "run", "fold1", tmp_path / "artifact")
    with pytest.raises(ConfigError, match="has no fold fold7, but fold1"):
        export_identity(tmp_path / "run", "fold7", tmp_path / "artifact")
    placed = msgspec.structs.replace(read_header(corpora["disfa"]), template=_PLACES)
    monkeypatch.setattr("train.runs.identity_artifact.read_header", lambda folder: placed)
    export_identity(tmp_path / "run", "fold1", tmp_path / "artifact")
    artifact = load_artifact(str(tmp_path / "artifact"), "identity")
    assert artifact.card.template == ((33, 12.0, 16.0), (263, 20.0, 16.0))
    assert artifact.card.licence == "as the agreement on DISFA says"
    images = torch.randn(3, 3, 32, 32)
    (given,) = onnxruntime.InferenceSession(str(artifact.onnx)).run(None, {"image": images.numpy()})
    data = load(own)
    with torch.no_grad():
        seen = trained(own, data, data.folds[0]).features(images).numpy()
    np.testing.assert_allclose(given, seen / np.linalg.norm(seen, axis=1, keepdims=True), atol=1e-4)


_PLACES = ((33, 102.4, 128.0), (263, 153.6, 128.0))  # of 256 pixels


def test_the_template_of_a_window_and_of_the_whole_picture(corpora: dict[str, Path]) -> None:
    header = msgspec.structs.replace(read_header(corpora["disfa"]), template=_PLACES)
    own = config(corpora["disfa"], Path("nowhere"), ILEConfig())
    assert template(header, own) == ((33, 12.0, 16.0), (263, 20.0, 16.0))  # 40 px, of which the middle 32
    whole = msgspec.structs.replace(own, augmentation=Augmentation(size=32, crop=(0.8, 1.0)))
    assert template(header, whole) == ((33, 12.8, 16.0), (263, 19.2, 16.0))


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
