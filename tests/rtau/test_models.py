import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from rtau.errors import ModelError
from rtau.facs import AU_COLUMNS
from rtau.models import Role, load_artifact

ROLES: tuple[Role, ...] = ("detector", "landmarks", "au")
SHIPPED = Path(str(files("rtau"))) / "weights"


@pytest.mark.parametrize("role", ROLES)
def test_the_shipped_weights_fit_their_cards_and_say_where_they_come_from(role: Role) -> None:
    card = load_artifact("default", role).card
    assert card.command.startswith("python -m train ")
    assert card.trained
    assert card.limits
    assert all(source.licence and source.origin for source in card.trained_on)
    assert set(card.aus) <= set(AU_COLUMNS)
    assert ("AU12" in card.aus) == (role == "au")


def test_the_shipped_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("model.onnx")) < 25e6


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "detector", tmp_path / "model"))


def test_a_card_of_another_role_is_refused(copy: Path) -> None:
    with pytest.raises(ModelError, match="role 'detector', a 'au' model was expected"):
        load_artifact(str(copy), "au")


def test_changed_weights_are_refused(copy: Path) -> None:
    (copy / "model.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match="sha256"):
        load_artifact(str(copy), "detector")


@pytest.mark.parametrize(("text", "said"), [("role: [", "not YAML"), ("role: detector", "not the card")])
def test_a_broken_card_is_named(copy: Path, text: str, said: str) -> None:
    (copy / "card.yaml").write_text(text)
    with pytest.raises(ModelError, match=said) as error:
        load_artifact(str(copy), "detector")
    assert "card.yaml" in str(error.value)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing_here"):
        load_artifact(str(tmp_path / "nothing_here"), "detector")
