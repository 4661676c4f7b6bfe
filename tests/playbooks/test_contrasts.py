"""Contrasts of two classes, in closed form for a network that is linear in its layer."""

import numpy as np
import torch
from torch import Tensor, nn

import underhood as uh
from underhood.engine import Engine
from underhood.models import Class
from underhood.models.target import Difference
from underhood.playbooks.contrasts import contrasted, joined


class Averaged(nn.Module):
    """A convolution of single pixels, its mean over places, and a linear head: three classes of 4 units."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.features, self.pool, self.head = nn.Conv2d(2, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(x)).flatten(1))


def test_contrast_is_the_closed_form_and_shares_the_forward_pass() -> None:
    net, x = Averaged(), torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    of, against = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 2, 0, 2, 0])
    engine = Engine(uh.Model(net))
    found = contrasted(engine, x, of, against)
    with torch.no_grad():
        a, w = net.features(x), (net.head.weight[of] - net.head.weight[against]) / 36
        expected = torch.einsum("bk,bkhw->bhw", w, a)
        units = net.head.weight[of] * a.mean((2, 3))
    torch.testing.assert_close(found.maps, expected)
    torch.testing.assert_close(found.units_of, units)
    forward = engine.log.forward
    contrasted(engine, x, of, against)
    assert engine.log.forward - forward == 5
    assert engine.log.backward == 2 * 2 * 5


def test_contrast_is_grad_cam_of_the_difference() -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )
    x = torch.randn(4, 2, 8, 8)
    found = contrasted(Engine(uh.Model(net)), x, torch.tensor([0] * 4), torch.tensor([2] * 4))
    theirs = uh.explain(
        net, x, methods=uh.GradCAM(relu=False, layer="3"), target=Difference(Class(0), Class(2))
    )
    maps = np.stack([found.arrays["3"] for found in theirs])
    np.testing.assert_allclose(found.maps.numpy(), maps, rtol=1e-4, atol=1e-6)


def test_parts_join_to_the_whole() -> None:
    engine, x = Engine(uh.Model(Averaged())), torch.randn(5, 2, 6, 6)
    of, against = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 2, 0, 2, 0])
    whole = contrasted(engine, x, of, against)
    parts = [contrasted(engine, x[rows], of[rows], against[rows]) for rows in (slice(0, 2), slice(2, 5))]
    torch.testing.assert_close(joined(parts).maps, whole.maps)
    torch.testing.assert_close(joined(parts).units_against, whole.units_against)
