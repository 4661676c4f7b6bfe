"""Variants: the order they come in, whatever the micro-batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from underhood.inputs import Variants
from underhood.inputs.random import generator, normal, uniform
from underhood.inputs.variants import as_variants, broadcast_as

small = st.integers(1, 6)


def numbered(inputs: int, count: int, group: int = 1) -> Variants:
    """Variant `n` of input `r` is the number 100·r + n."""
    base = 100.0 * torch.arange(inputs)[:, None]

    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        return base[rows] + numbers[:, None]

    return Variants(base, count, make, group)


def test_variants_come_number_by_number() -> None:
    tensors, rows, numbers = numbered(2, 3).chunk(0, 99)
    assert rows.tolist() == [0, 1, 0, 1, 0, 1]
    assert numbers.tolist() == [0, 0, 1, 1, 2, 2]
    assert tensors.flatten().tolist() == [0, 100, 1, 101, 2, 102]


def test_pairs_stay_together() -> None:
    _, rows, numbers = numbered(2, 4, group=2).chunk(0, 99)
    assert rows.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert numbers.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]


@given(inputs=small, count=small, size=st.integers(1, 20), group=st.sampled_from([1, 2]))
def test_any_micro_batch_gives_every_variant_once_in_the_same_order(
    inputs: int, count: int, size: int, group: int
) -> None:
    variants = numbered(inputs, count * group, group)
    size *= group
    parts = [variants.chunk(start, start + size) for start in range(0, len(variants), size)]
    whole = variants.chunk(0, len(variants))
    for i in range(3):
        assert torch.equal(torch.cat([part[i] for part in parts]), whole[i])
    pairs = set(zip(whole[1].tolist(), whole[2].tolist(), strict=True))
    assert pairs == {(r, n) for r in range(inputs) for n in range(count * group)}
    for _, rows, numbers in parts:  # no pair is torn apart
        assert (rows[::group] == rows[group - 1 :: group]).all()
        assert (numbers[::group] // group == numbers[group - 1 :: group] // group).all()


def test_inputs_are_their_own_only_variants() -> None:
    inputs = torch.rand(3, 2)
    variants = as_variants(inputs)
    assert len(variants) == 3
    assert torch.equal(variants.chunk(1, 3)[0], inputs[1:])
    assert as_variants(variants) is variants


def test_values_are_shaped_to_multiply_inputs() -> None:
    assert broadcast_as(torch.tensor([1, 2]), torch.zeros(2, 3, 4, 5)).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("draw", [normal, uniform])
def test_randomness_comes_from_the_seed_and_the_stream_alone(draw: object) -> None:
    assert callable(draw)
    first = draw((4, 5), 7, 1, 2)
    torch.manual_seed(99)
    assert torch.equal(first, draw((4, 5), 7, 1, 2))
    for other in ((8, 1, 2), (7, 1, 3), (7, 2, 2), (7, 1)):
        assert not torch.equal(first, draw((4, 5), *other))
    assert first.dtype == torch.float32


def test_streams_are_independent() -> None:
    a, b = (generator(0, stream).standard_normal(20_000) for stream in (0, 1))
    assert abs((a * b).mean()) < 0.03
