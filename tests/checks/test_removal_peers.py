"""Removal beside Quantus 0.6 and pytorch-grad-cam, where they are right; where not, what is wrong and why."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.support import torchvision_ops  # noqa: F401 - before anything imports torchvision
from underhood.checks import IROF, ROAD, Deletion, RegionPerturbation
from underhood.inputs import NoisyLinear
from underhood.inputs.imputation import impute
from underhood.methods import Given

SIDE = 16
QUIET = {"disable_warnings": True, "display_progressbar": False, "normalise": False}
ZEROS = {"perturb_baseline": 0.0}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def net(channels: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * (SIDE - 2) ** 2, 2)
    ).eval()


MAPS = drawn(2, SIDE, SIDE, seed=2)


def explained(channels: int, target: object = 0, maps: Tensor = MAPS) -> uh.Explanations:
    found = uh.explain(
        uh.Model(net(channels)), pictures(channels), target, methods=Given(maps, "given"), precision="float32"
    )
    assert isinstance(found, uh.Explanations)
    return found


def pictures(channels: int) -> Tensor:
    return torch.rand(2, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def quantus(name: str, channels: int, softmax: bool = False, **parameters: Any) -> Any:
    peer = pytest.importorskip("quantus", reason="Quantus is not installed: pip install 'underhood[peers]'")
    metric = getattr(peer, name)(**{**QUIET, **parameters})
    x, a = pictures(channels).numpy().copy(), MAPS[:, None].numpy().copy()
    y = np.zeros(2, dtype=int)
    return metric(model=net(channels), x_batch=x, y_batch=y, a_batch=a, softmax=softmax, device="cpu")


def curve(reading: Any, order: str = "MoRF") -> list[float]:
    found: list[float] = reading.details["curves"][order]["score"]
    return found


# -- Quantus -----------------------------------------------------------------------------------------


def test_pixel_flipping_has_our_curve_less_its_beginning() -> None:
    """Theirs leaves out S(x), so that its area is over 15 intervals where all pixels lie in 16 steps."""
    theirs = quantus("PixelFlipping", 1, features_in_step=16, perturb_func_kwargs=ZEROS)
    ours = Deletion("MoRF", grouping="elements", steps=16, shifts=0)(explained(1))
    for reading, scores in zip(ours, theirs, strict=True):
        assert curve(reading)[1:] == pytest.approx(scores, abs=1e-6)
        first = sum(curve(reading)[:2]) / 2
        assert reading.value == pytest.approx((np.trapezoid(scores) + first) / 16, abs=1e-6)


def test_pixel_flipping_hides_single_channels_of_colour_pictures() -> None:
    """A pixel's three values are three features to them: 16 steps of 16 pixels become 48 of 16 values."""
    theirs = quantus("PixelFlipping", 3, features_in_step=16, perturb_func_kwargs=ZEROS)
    assert len(theirs[0]) == 48
    ours = Deletion("MoRF", grouping="elements", steps=16, shifts=0)(explained(3))
    for reading, scores in zip(ours, theirs, strict=True):  # after 3 of their steps 16 pixels are gone
        assert curve(reading)[1:] == pytest.approx(scores[2::3], abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_region_perturbation_has_our_falls_less_the_first(channels: int) -> None:
    """Theirs leaves out k = 0, where nothing is hidden and the fall is 0, and divides by L for L + 1."""
    theirs = quantus(
        "RegionPerturbation", channels, patch_size=4, regions_evaluation=5, perturb_func_kwargs=ZEROS
    )
    ours = RegionPerturbation(5, 4, fill="zeros", shifts=0)(explained(channels))
    for reading, falls in zip(ours, theirs, strict=True):
        whole, *rest = curve(reading)
        assert [whole - score for score in rest] == pytest.approx(list(falls), abs=1e-5)
        assert reading.value == pytest.approx(float(np.sum(falls)) / 6, abs=1e-5)


def test_irof_is_one_interval_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of L superpixels theirs is L less an area over L - 1 intervals: 1, not 0, where the score never falls.

    It needs numpy's `trapz`, which numpy 2.4 has no longer, and refuses pictures of colour.
    """
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    skimage = pytest.importorskip("skimage.segmentation")
    labels = [
        torch.from_numpy(skimage.slic(np.moveaxis(x.numpy(), 0, -1).astype("double"), start_label=0))
        for x in pictures(1)
    ]
    theirs = quantus("IROF", 1, softmax=True, return_aggregate=False, perturb_func_kwargs=ZEROS)
    ours = IROF(labels, shifts=0)(explained(1))
    for reading, value in zip(ours, theirs, strict=True):
        ratios = np.array(curve(reading)) / curve(reading)[0]
        count = len(ratios) - 1
        assert value == pytest.approx(count - np.trapezoid(ratios[1:]), abs=1e-4)
        assert reading.value == pytest.approx((value - (1 + ratios[1]) / 2) / count, abs=1e-5)
    with pytest.raises(AssertionError, match="shape of arr must be the same"):
        quantus("IROF", 3, perturb_func_kwargs=ZEROS)


def test_road_counts_what_keeps_its_class_and_fails_on_colour() -> None:
    """Theirs is the share of inputs that keep their class with most relevant pixels imputed."""
    theirs = quantus("ROAD", 1, percentages=[20, 50, 80], noise=0.0)
    check = ROAD((0.2, 0.5, 0.8), NoisyLinear(0), shifts=0)
    margins = np.array([curve(r)[1:] for r in check(explained(1, uh.Contrast(0, 1)))])
    # theirs cuts 51.2 pixels of 256 down to 51 and 204.8 to 204, ours rounds: at most one pixel apart
    assert (np.abs(margins) > 1e-3).all()
    assert list(theirs.values()) == pytest.approx((margins > 0).mean(0))
    with pytest.raises(IndexError):
        quantus("ROAD", 3, percentages=[50], noise=0.0)


def test_noisy_linear_imputation_is_quantus_on_grey_pictures() -> None:
    pytest.importorskip("quantus")
    from quantus.functions.perturb_func import noisy_linear_imputation

    picture, hidden = pictures(1)[:1], MAPS[:1, None] > 0.2
    at = hidden.flatten().nonzero().flatten().numpy()
    theirs = noisy_linear_imputation(picture[0].numpy().astype("float64"), at, noise=0.0)
    torch.testing.assert_close(
        impute(picture, hidden)[0].double(), torch.from_numpy(theirs), atol=1e-5, rtol=0
    )


# -- pytorch-grad-cam --------------------------------------------------------------------------------


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Their ROAD, without the noise, which nobody can seed."""
    found = pytest.importorskip("pytorch_grad_cam.metrics.road")
    monkeypatch.setattr(found.NoisyLinearImputer.__init__, "__defaults__", (0.0, found.neighbors_weights))
    return found


def test_imputation_is_pytorch_grad_cams(road: Any) -> None:
    picture, hidden = pictures(3), MAPS[:, None] > -0.5
    found = impute(picture, hidden)
    for one, ours, where in zip(picture, found, hidden, strict=True):
        theirs = road.NoisyLinearImputer()(one, (~where[0]).float())
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_road_is_pytorch_grad_cams(road: Any) -> None:
    """At the numbers of pixels that their percentiles come to; theirs asks for S(x) again each time."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    percentiles, x = [20, 50, 70], pictures(3)
    for row in range(2):
        one = MAPS[row].numpy()
        counts = sorted(int((one >= np.percentile(one, p)).sum()) for p in percentiles)
        model, passes = net(3), []
        model.register_forward_hook(lambda _, inputs, __, seen=passes: seen.append(len(inputs[0])))
        [theirs] = road.ROADCombined(percentiles=percentiles)(
            x[row : row + 1], one[None], [ClassifierOutputTarget(0)], model
        )
        check = ROAD([count / SIDE**2 for count in counts], NoisyLinear(0), shifts=0)
        found = uh.explain(uh.Model(net(3)), x[row : row + 1], 0, methods=Given(MAPS[row : row + 1]))
        [reading] = check(found)
        assert reading.value == pytest.approx(float(theirs), abs=1e-5)
        assert (sum(passes), reading.calls) == (4 * len(percentiles), 2 * len(percentiles))
