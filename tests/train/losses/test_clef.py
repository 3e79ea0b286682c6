import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.losses.clef import ActivityContrast, ActivityText


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Features, activity (-1 unknown), subject; activity 2 is shown by one subject only, activity 3 once."""
    features = torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return features, torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, -1]), torch.tensor([0, 1, 1, 0, 2, 4, 4, 0, 1])


def test_two_subjects_of_one_activity_and_a_third_picture() -> None:
    """Cosines 1 to the positive and 0 to the rest: log(1 + 1/e) for both anchors."""
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = ActivityContrast(temperature=1.0)(features, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_contrast_equals_the_equation_in_plain_loops() -> None:
    features, activity, subject = batch()
    z, losses = normalize(features, dim=1), []
    told = [x for x in range(9) if activity[x] >= 0]
    for x in told:
        same = [b for b in told if b != x and activity[b] == activity[x]]
        positive = [b for b in same if subject[b] != subject[x]] or same
        total = sum(math.exp(float(z[x] @ z[b]) / 0.1) for b in told if b != x)
        if positive:
            losses.append(-sum(math.log(math.exp(float(z[x] @ z[p]) / 0.1) / total) for p in positive) / len(positive))
    assert len(losses) == 7
    assert ActivityContrast(0.1)(features, activity, subject).item() == pytest.approx(sum(losses) / len(losses))


def test_the_own_subject_is_no_positive_while_there_is_another() -> None:
    """Of three pictures of an activity two are of one subject: these do not pull each other."""
    far = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])  # 1 and 2 alike
    loss = ActivityContrast(temperature=1.0)
    across = loss(far, torch.zeros(3).long(), torch.tensor([0, 1, 1])).item()
    everybody = loss(far, torch.zeros(3).long(), torch.tensor([0, 1, 2])).item()
    assert across > everybody


def test_unknown_activities_give_no_gradient() -> None:
    features, activity, subject = batch()
    features.requires_grad_(True)
    texts = torch.randn(4, 5).double()
    (ActivityContrast()(features, activity, subject) + ActivityText()(features, texts, activity)).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert not features.grad[8].any()
    assert features.grad[:7].abs().sum(dim=1).all()
    nobody = ActivityText()(features, texts, torch.full((9,), -1))
    assert nobody.item() == 0


def test_text_equals_the_equation_in_plain_loops() -> None:
    features, activity, _ = batch()
    texts, losses = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64), []
    for f, a in zip(features, activity.tolist(), strict=True):
        shares = [math.exp(float(f @ t / f.norm() / t.norm()) / 0.07) for t in texts]
        if a >= 0:
            losses.append(-math.log(shares[a] / sum(shares)))
    texts.requires_grad_(True)
    loss = ActivityText()(features.requires_grad_(True), texts, activity)
    assert loss.item() == pytest.approx(sum(losses) / len(losses))
    loss.backward()
    assert texts.grad is None
