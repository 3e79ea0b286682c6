import pytest
import torch

from tests.train.methods.made_up import clips, setting
from train.methods.clp import CLP, CLPConfig


def small(**changes: object) -> CLP:
    torch.manual_seed(0)
    config = {"dictionary": 12, "width": 8, "hidden": 16, "momentum": 0.5, "nearest": 4} | changes
    return CLP(CLPConfig(**config), setting(aus=(), rates=torch.zeros(0)))  # type: ignore[arg-type]


@pytest.mark.parametrize("signals", ["both", "temporal", "reconstruction"])
def test_each_signal_alone_and_both(signals: str) -> None:
    method = small(signals=signals)
    terms = {"temporal", "reconstruction"} if signals == "both" else {signals}
    first = method.losses(clips())
    assert set(first) == terms
    assert first.get("reconstruction", torch.zeros(())).item() == 0  # the dictionary is not full yet
    method.after_step(0, 2)
    losses = method.losses(clips(seed=1))
    assert all(loss.item() > 0 for loss in losses.values())
    torch.stack([*losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    assert any(p.grad is not None and bool(p.grad.any()) for p in method.net.queries.parameters())
    assert all(p.grad is None for p in method.net.keys.parameters())


def test_after_a_step_the_copy_has_followed_and_the_keys_are_entries_with_their_identity() -> None:
    method = small()
    query = next(method.net.queries.parameters())
    with torch.no_grad():
        query.add_(1.0)
    key = next(method.net.keys.parameters()).clone()
    method.losses(clips())
    method.after_step(0, 1)
    torch.testing.assert_close(next(method.net.keys.parameters()), (key + query) / 2)
    assert method.net.dictionary.owners.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    torch.testing.assert_close(method.net.dictionary.vectors.norm(dim=1), torch.ones(12))


def test_copy_and_dictionary_are_saved_with_the_network() -> None:
    names = small().net.state_dict()
    assert {"dictionary.vectors", "dictionary.owners", "dictionary.pushed"} <= set(names)
    assert any(name.startswith("keys.") for name in names)


def test_the_probe_sees_the_backbone_without_the_projector() -> None:
    method = small().eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(method.features(images), method.net.queries.pooled(images))
