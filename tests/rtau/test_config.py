from pathlib import Path

import pytest

from rtau.config import PipelineConfig, load_config
from rtau.errors import ConfigError


def test_the_shipped_file_holds_the_defaults() -> None:
    assert load_config(Path("configs/pipeline/default.yaml")) == PipelineConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fases: {}", "fases"),
        ("faces: {max_faces: 0}", "max_faces"),
        ("faces: {max_faces: many}", "max_faces"),
        ("device: gpu", "device"),
        ("faces: [1", "not YAML"),
    ],
)
def test_a_bad_file_is_refused_naming_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        load_config(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
