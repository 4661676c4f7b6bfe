"""Networks of several inputs."""

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import explained


class Two(nn.Module):
    """A picture and a row of columns, from which comes a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense, self.head = nn.Conv2d(1, 3, 3), nn.Linear(4, 5), nn.Linear(8, 2)

    def forward(self, picture: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.tanh(self.conv(picture)).mean((2, 3))
        both = torch.cat((seen, torch.tanh(self.dense(columns))), 1)
        return self.head(both), both


@pytest.fixture
def joined() -> uh.Joined:
    torch.manual_seed(0)
    return uh.Joined(Two().eval(), [(1, 6, 6), (4,)])


PICTURES, COLUMNS = torch.randn(2, 1, 6, 6), torch.randn(2, 4)


def test_gradients_reach_every_input(joined: uh.Joined) -> None:
    parts = [PICTURES.clone().requires_grad_(), COLUMNS.clone().requires_grad_()]
    expected = torch.autograd.grad(joined.module(*parts)[0][:, 1].sum(), parts)
    found = explained(uh.Saliency("signed"), joined, joined.join(PICTURES, COLUMNS), 1)
    for mine, theirs in zip(joined.split(found), expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_integrated_gradients_equal_captums_of_two_inputs(joined: uh.Joined) -> None:
    peer = pytest.importorskip("captum.attr").IntegratedGradients(lambda a, b: joined.module(a, b)[0])
    theirs = peer.attribute((PICTURES, COLUMNS), target=1, n_steps=10, method="gausslegendre")
    found = uh.IntegratedGradients(steps=10)(joined, joined.join(PICTURES, COLUMNS), 1)
    for i, explanation in enumerate(found):
        assert explanation.diagnostics["relative_gap"] < 1e-2
        picture, columns = joined.split(explanation.values)
        assert torch.allclose(picture, theirs[0][i].float(), atol=1e-5)
        assert torch.allclose(columns, theirs[1][i].float(), atol=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        uh.SmoothGrad(n=4),
        uh.ExpectedGradients(n=4),
        uh.GuidedIG(steps=4),
        uh.Occlusion(),
        uh.IntegratedGradients(steps=4, at="module.dense"),
        uh.Saliency(at="module.conv"),
    ],
    ids=repr,
)
def test_other_methods_and_layers(joined: uh.Joined, method: uh.Method) -> None:
    assert all(e.values.any() for e in method(joined, joined.join(PICTURES, COLUMNS), 0))


def test_shapes_that_do_not_fit_are_refused(joined: uh.Joined) -> None:
    with pytest.raises(uh.UnderhoodError, match="have the shapes"):
        joined.join(COLUMNS, PICTURES)
    with pytest.raises(uh.UnderhoodError, match="3 values, the inputs 40"):
        joined.split(torch.zeros(3))
    with pytest.raises(uh.UnderhoodError, match="shape of each input"):
        uh.Joined(Two(), [])
