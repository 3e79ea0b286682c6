"""Identity-label embeddings, label head, gradient reversal."""

import math

import pytest
import torch

from train.models.identity_labels import IdentityLabels
from train.models.label_head import LabelHead
from train.models.reversal import reversed_gradient


def test_aus_are_read_with_the_rows_of_the_own_subject_only() -> None:
    labels = IdentityLabels(subjects=4, aus=3, width=5)
    identity, subject = torch.randn(2, 5), torch.tensor([1, 3])
    logits = labels(identity, subject)
    torch.testing.assert_close(logits[1], labels.table[3] @ identity[1])
    logits.sum().backward()
    assert labels.table.grad is not None
    assert (labels.table.grad.abs().sum(dim=(1, 2)) > 0).tolist() == [False, True, False, True]


def test_label_head_by_hand() -> None:
    head = LabelHead(torch.tensor([[2.0, 0.0], [0.0, 5.0]]), scale=4.0)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([-1.0, 0.5]))
    assert head(torch.tensor([[3.0, 3.0]]))[0].tolist() == pytest.approx([4 / math.sqrt(2) - 1, 4 / math.sqrt(2) + 0.5])


def test_two_prompts_give_a_two_way_softmax_and_frozen_text_is_not_trained() -> None:
    present, absent = torch.randn(3, 6), torch.randn(3, 6)
    head = LabelHead(present, scale=10.0, frozen=True, against=absent)
    features = torch.randn(4, 6)
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (features, present, absent)]
    both = torch.stack([10 * unit[0] @ unit[1].T, 10 * unit[0] @ unit[2].T])
    torch.testing.assert_close(head(features).sigmoid(), both.softmax(dim=0)[0])
    assert sorted(name for name, _ in head.named_parameters()) == ["bias", "scale"]


def test_reversed_gradient() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reversed_gradient(x, 0.5)
    assert y.tolist() == [1.0, -2.0]
    (y * torch.tensor([3.0, 4.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [-1.5, -2.0]
