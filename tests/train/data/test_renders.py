"""What training sees of rendered faces."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from rtau.align import inter_ocular
from train.data.renders import load_renders
from train.synthesis.assets import assets_folder
from train.synthesis.shards import RenderConfig, render_all

pytestmark = pytest.mark.skipif(not assets_folder().is_dir(), reason="the face model is not here")


def test_rendered_faces_are_read_with_the_landmarks_that_the_network_finds(tmp_path: Path) -> None:
    config = RenderConfig(out=str(tmp_path), split="test", persons=1, pictures=6, size=128)
    render_all(config, assets_folder(), 1, lambda done, count, rate: None)
    renders = load_renders(tmp_path)
    assert len(renders.jpegs) == 6
    assert renders.found.shape == (6, 2, 478, 2)
    assert renders.usable.mean() > 0.6
    for i in np.flatnonzero(renders.usable):
        face = renders.face(int(i), depth=0.0)
        moved = np.linalg.norm(face.landmarks[:, :2] - renders.landmarks[i, :, :2], axis=1)
        assert 0 < moved.mean() < 0.08 * inter_ocular(face.landmarks)  # placed as the teacher places them
        np.testing.assert_allclose(face.pose, renders.pose[i], atol=5)
    other = msgspec.structs.replace(config, size=96)
    with pytest.raises(FileExistsError, match="other settings"):
        render_all(other, assets_folder(), 1, lambda done, count, rate: None)


def test_a_folder_grows_by_whole_shards_only(tmp_path: Path) -> None:
    config = RenderConfig(out=str(tmp_path), split="test", persons=1, persons_a_shard=1, pictures=1, size=64)
    for persons in (1, 2):
        render_all(msgspec.structs.replace(config, persons=persons), assets_folder(), 1, lambda *_: None)
    assert sorted(path.name for path in tmp_path.glob("*.tar")) == ["00000.tar", "00001.tar"]
    with pytest.raises(FileExistsError, match="other settings"):
        render_all(config, assets_folder(), 1, lambda *_: None)
