import pytest
import torch
from torch import Tensor

from tests.train.methods.made_up import AUS, SUBJECTS, batch, setting
from train.methods.clile import CLILE, ILE, CLILEConfig, ILEConfig


def gradients(method: torch.nn.Module, losses: dict[str, Tensor]) -> set[str]:
    """Which parts of the network a step moves."""
    torch.stack([*losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    return {name.split(".")[1] for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}


def test_stage_1_trains_encoder_and_the_rows_of_the_subjects_that_are_there() -> None:
    method = ILE(ILEConfig(width=16), setting())
    given = batch()
    given = given._replace(subject=given.subject % 2)
    assert gradients(method, method.losses(given)) == {"identity", "labels"}
    table = method.net.labels.table.grad
    assert (table.abs().sum(dim=(1, 2)) > 0).tolist() == [True, True, False, False]
    assert method.features(given.images[0]).shape == (8, 16)


@pytest.mark.parametrize(
    ("eliminate", "moved"),
    [
        ("orthogonality", {"general", "head"}),
        ("reversal", {"general", "head", "subject"}),
        ("nothing", {"general", "head"}),
    ],
)
def test_stage_2_trains_all_but_the_identity_encoder(eliminate: str, moved: set[str]) -> None:
    method = CLILE(CLILEConfig(width=16, eliminate=eliminate), setting())  # type: ignore[arg-type]
    before = {name: tensor.clone() for name, tensor in method.net.state_dict().items() if name.startswith("identity")}
    losses = method.train().losses(batch())
    assert set(losses) == {"contrast", "classification"} | ({"elimination"} if eliminate != "nothing" else set())
    assert gradients(method, losses) == moved
    assert all(torch.equal(method.net.state_dict()[name], tensor) for name, tensor in before.items())  # BatchNorm too
    assert bool(before) == (eliminate == "orthogonality")


def test_stage_2_starts_from_the_identity_encoder_of_stage_1() -> None:
    first = ILE(ILEConfig(width=16), setting())
    second = CLILE(CLILEConfig(width=16, aus_from_ile=True), setting())
    general = second.net.general.project.weight.clone()
    second.start_from(first.net.state_dict())
    torch.testing.assert_close(second.net.identity.state_dict(), first.net.identity.state_dict())
    torch.testing.assert_close(second.net.head.labels.detach(), first.net.labels.table.detach().mean(dim=0))
    assert torch.equal(second.net.general.project.weight, general)


def test_inference_does_not_need_the_identity_encoder() -> None:
    method = CLILE(CLILEConfig(width=16), setting()).eval()
    images = batch().images[0]
    before = method.predict(images)
    for p in method.net.identity.parameters():
        torch.nn.init.constant_(p, torch.nan)
    torch.testing.assert_close(method.predict(images), before)
    assert before.shape == (8, len(AUS))
    assert 0 <= before.min() <= before.max() <= 1


def test_a_reversed_subject_classifier_pushes_the_features_away_from_telling_people_apart() -> None:
    method = CLILE(
        CLILEConfig(width=16, eliminate="reversal", elimination=1.0, contrast=0, classification=0), setting()
    )
    given = batch()
    method.losses(given)["elimination"].backward()
    pushed = method.net.general.project.weight.grad.clone()
    method.zero_grad()
    said = method.net.subject(method.net.general(given.images[0]))
    torch.nn.functional.cross_entropy(said, given.subject).backward()
    torch.testing.assert_close(pushed, -method.net.general.project.weight.grad)
    assert method.net.subject.out_features == SUBJECTS
