"""The dimension of the active subspace against an eigenvalue loop, and the count of channels that are ever active."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from limbeck.analysis import ActiveChannels, active_subspace_dimension
from limbeck.errors import LimbeckError


def drawn(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(gradients, epsilon):
    """E[g gᵀ] by loops, its eigenvalues by NumPy, and the first sum that suffices."""
    rows, size = gradients.tolist(), gradients.shape[1]
    second = [[sum(g[i] * g[j] for g in rows) / len(rows) for j in range(size)] for i in range(size)]
    values = sorted(np.linalg.eigvalsh(np.array(second)).tolist(), reverse=True)
    return next(r for r in range(size + 1) if sum(values[:r]) >= (1 - epsilon) * sum(values) * (1 - 1e-12))


@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.3, 0.9])
@pytest.mark.parametrize(("n", "d"), [(30, 8), (6, 12)])
def test_it_is_what_the_eigenvalues_say(n, d, epsilon):
    gradients = drawn(n, d) * 0.7 ** torch.arange(d) + 0.2
    assert active_subspace_dimension(gradients, epsilon) == naive(gradients, epsilon)


@pytest.mark.parametrize("rank", [1, 3, 10])
def test_nothing_left_out_counts_the_rank(rank):
    gradients = drawn(50, rank) @ drawn(rank, 40, seed=1)
    assert active_subspace_dimension(gradients, epsilon=0.0) <= rank
    assert active_subspace_dimension(gradients, epsilon=1e-9) == rank


@pytest.mark.parametrize(("epsilon", "dimension"), [(0.05, 19), (0.049, 20), (0.5, 10), (0.7, 6), (0.0, 20)])
def test_equal_directions_are_counted_to_the_edge(epsilon, dimension):
    assert active_subspace_dimension(torch.eye(20, dtype=torch.float64), epsilon) == dimension
    for seed in range(20):
        q = torch.linalg.qr(drawn(20, 20, seed)).Q
        assert active_subspace_dimension(0.3 * q, epsilon) == dimension


def test_rotation_scale_and_order_change_nothing():
    gradients = drawn(60, 16) * 0.8 ** torch.arange(16)
    before = active_subspace_dimension(gradients)
    q = torch.linalg.qr(drawn(16, 16, seed=1)).Q
    assert 1 < before < 16
    for same in (gradients @ q, 1e-30 * gradients, 1e200 * gradients, gradients.flip(0), gradients.float()):
        assert active_subspace_dimension(same) == before


def test_silent_gradients_have_no_direction_and_a_common_one_counts():
    assert active_subspace_dimension(torch.zeros(5, 3)) == 0
    assert active_subspace_dimension(torch.ones(5, 3)) == 1
    assert active_subspace_dimension(torch.ones(1, 3)) == 1
    assert active_subspace_dimension(torch.full((4, 3), 1e-40)) == 1


@pytest.mark.parametrize(
    ("gradients", "epsilon", "reason"),
    [
        (torch.ones(2, 2), 1.0, r"epsilon is 1\.0 but must lie in \[0, 1\)"),
        (torch.ones(2, 2), -0.1, "must lie in"),
        (torch.ones(0, 2), 0.05, r"shape \[0, 2\]: pass at least one"),
        (torch.tensor([[1.0, float("nan")]]), 0.05, "NaN or infinity"),
        (torch.tensor([[1.0, float("inf")]]), 0.05, "NaN or infinity"),
    ],
)
def test_what_has_no_dimension_is_refused(gradients, epsilon, reason):
    with pytest.raises(LimbeckError, match=reason):
        active_subspace_dimension(gradients, epsilon)


@pytest.mark.parametrize("batch", [1, 4, 30])
def test_a_channel_counts_that_was_active_once(batch):
    features = -torch.rand(30, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    features[17, 2, 1, 0] = 0.5
    features[3, 4] = 0.1
    features[:, 0] = 0.0
    channels = ActiveChannels()
    for part in features.split(batch):
        channels.update(part)
    assert channels.mask().tolist() == [False, False, True, False, True]
    assert channels.count() == 2
    above = ActiveChannels(threshold=0.2)
    above.update(features)
    assert above.count() == 1


def test_a_layer_without_places_and_wrong_channels():
    channels = ActiveChannels()
    with pytest.raises(LimbeckError, match="no features were counted yet"):
        channels.count()
    channels.update(torch.eye(3, 4))
    assert channels.count() == 3
    with pytest.raises(LimbeckError, match="features have 5 channels, but those before had 4"):
        channels.update(torch.eye(3, 5))


def test_importing_limbeck_stays_light():
    code = "import sys, limbeck, limbeck.analysis, limbeck.analysis.confidence; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
