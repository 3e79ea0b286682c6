from pathlib import Path

import pytest
import torch

from rtau.errors import ConfigError
from tests.train.methods.made_up import batch, setting
from train.data.text_table import AU_NAMES, hashed, known_strings, read_text_table, write_text_table
from train.methods.clef import (
    CLEF,
    CLEFActivities,
    CLEFActivitiesConfig,
    CLEFConfig,
    CLEFExpressions,
    CLEFExpressionsConfig,
)


@pytest.fixture
def texts(tmp_path: Path) -> str:
    path = tmp_path / "texts.npz"
    write_text_table(path, hashed(known_strings(), 24))
    return str(path)


@pytest.mark.parametrize(
    ("pairs", "terms"), [("both", {"images", "texts"}), ("images", {"images"}), ("texts", {"texts"})]
)
def test_stage_1_compares_pictures_with_pictures_and_with_texts(texts: str, pairs: str, terms: set[str]) -> None:
    method = CLEFActivities(CLEFActivitiesConfig(texts=texts, pairs=pairs), setting())  # type: ignore[arg-type]
    losses = method.losses(batch())
    assert set(losses) == terms
    torch.stack([*losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in method.net.parameters())
    torch.testing.assert_close(method.features(batch().images[0]).norm(dim=1), torch.ones(8))


def test_stage_1_needs_activities(texts: str) -> None:
    with pytest.raises(ConfigError, match="needs a corpus with activities"):
        CLEFActivities(CLEFActivitiesConfig(texts=texts), setting(activities=()))


def test_aus_are_named_by_the_table_and_the_text_is_not_trained(texts: str) -> None:
    method = CLEF(CLEFConfig(texts=texts), setting())
    names = [AU_NAMES[au] for au in ("AU01", "AU04", "AU12")]
    torch.testing.assert_close(method.net.head.labels, torch.from_numpy(read_text_table(Path(texts)).of(names)))
    assert {name.split(".")[0] for name, _ in method.net.named_parameters()} == {"image", "head"}
    said = method.predict(batch().images[0])
    assert said.shape == (8, 3)
    two = CLEF(CLEFConfig(texts=texts, prompts=2), setting())
    assert two.predict(batch().images[0]).shape == (8, 3)


def test_stage_2_takes_over_the_picture_encoder_of_stage_1_but_not_its_texts(texts: str) -> None:
    """Two activities and two AUs: the same shapes, other texts."""
    first = CLEFActivities(CLEFActivitiesConfig(texts=texts), setting())
    second = CLEF(CLEFConfig(texts=texts), setting(aus=("AU01", "AU04"), rates=torch.tensor([0.2, 0.5])))
    labels = second.net.head.labels.clone()
    second.start_from(first.net.state_dict())
    torch.testing.assert_close(second.net.image.state_dict(), first.net.image.state_dict())
    assert torch.equal(second.net.head.labels, labels)


def test_expressions_are_told_apart_by_their_names(texts: str) -> None:
    method = CLEFExpressions(CLEFExpressionsConfig(texts=texts), setting())
    given = batch()
    losses = method.losses(given)
    shares = method.classify(given.images[0])
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(8))
    expected = -shares.log()[torch.arange(8), given.expression].mean()
    assert losses["expressions"].item() == pytest.approx(expected.item(), rel=1e-5)
    unknown = method.losses(given._replace(expression=torch.where(given.frame < 4, given.expression, -1)))
    assert unknown["expressions"].item() != losses["expressions"].item()
