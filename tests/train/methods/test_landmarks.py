import torch

from train.data.mesh import EXPRESSIVE, SHAPES
from train.methods.landmarks import _form_error


def test_a_shift_of_all_points_is_no_error_of_form() -> None:
    shifted = torch.tensor([3.0, -2.0]).expand(2, 16, 2)
    torch.testing.assert_close(_form_error(shifted), torch.zeros(2))


def test_a_lid_that_is_not_seen_to_close_is_an_error_of_form() -> None:
    wrong = torch.zeros(1, 16, 2)
    wrong[:, :8, 1] = 4  # the upper half is seen 4 px too high
    torch.testing.assert_close(_form_error(wrong), torch.tensor([1.0]))


def test_shapes_lie_on_the_mesh() -> None:
    assert all(0 <= i < 478 for i in EXPRESSIVE)
    assert set(EXPRESSIVE) == {i for shape in SHAPES for i in shape}
