"""Gradients of each example's own loss, against one example at a time and against NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from limbeck.analysis import active_subspace_dimension, gradients_at
from limbeck.core.batch import Output
from limbeck.core.layers import probe


class Net(nn.Module):
    """conv, batch norm, a ReLU that may overwrite it, a mean over places, linear."""

    def __init__(self, inplace=False, named=False):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv, self.bn, self.relu = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=inplace)
        self.head, self.named = nn.Linear(6, 4), named
        for tensor in (*self.parameters(), self.bn.running_mean):
            tensor.data = torch.randn(tensor.shape, generator=generator)
        self.double().eval().requires_grad_(False)

    def forward(self, x):
        logits = self.head(self.relu(self.bn(self.conv(x))).mean((2, 3)))
        return Output(logits) if self.named else logits


def images(count=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 6, 6, generator=generator).double(), torch.arange(count) % 4


@pytest.mark.parametrize("path", ["bn", "relu"])
@pytest.mark.parametrize(("inplace", "named"), [(False, False), (True, True)])
def test_all_at_once_is_one_at_a_time(path, inplace, named):
    net, (views, labels) = Net(inplace, named), images()
    layers = probe(net.float(), (1, 6, 6))
    net.double()
    found = gradients_at(net, path, layers, views, labels)
    alone = [gradients_at(net, path, layers, views[i : i + 1], labels[i : i + 1]) for i in range(len(views))]
    assert torch.allclose(found.gradients, torch.cat([one.gradients for one in alone]), rtol=1e-12)
    assert torch.equal(found.features, torch.cat([one.features for one in alone]))
    assert not net._forward_hooks
    assert not any(module._forward_hooks for module in net.modules())
    assert all(weight.grad is None for weight in net.parameters())
    assert not views.requires_grad
    assert not found.gradients.requires_grad


def test_directions_are_those_of_numpy():
    net, (views, labels) = Net(), images(40)
    layers = probe(net.float(), (1, 6, 6))
    net.double()
    for path in ("bn", "relu"):
        found = gradients_at(net, path, layers, views, labels)
        # by hand: (softmax - one-hot) by the weights of the head, the same at all 16 places, where the ReLU lets it by
        features = found.features.numpy()
        pooled = np.maximum(features, 0).mean((2, 3))
        logits = pooled @ net.head.weight.double().numpy().T + net.head.bias.double().numpy()
        powers = np.exp(logits - logits.max(1, keepdims=True))
        wrong = powers / powers.sum(1, keepdims=True) - np.eye(4)[labels.numpy()]
        expected = np.repeat((wrong @ net.head.weight.double().numpy())[:, :, None, None] / 16, 16).reshape(40, 6, 4, 4)
        if path == "bn":
            expected = expected * (features > 0)
        assert np.allclose(found.gradients.numpy(), expected, rtol=1e-6, atol=1e-12)
        flat = expected.reshape(40, -1)
        values = np.linalg.eigvalsh(flat.T @ flat)[::-1]
        directions = next(r for r in range(97) if values[:r].sum() >= 0.95 * values.sum())
        assert active_subspace_dimension(found.gradients.flatten(1)) == directions
        # behind the last ReLU only mixes of the head's rows come back, of weights that sum to 0
        assert (active_subspace_dimension(found.gradients.flatten(1), 1e-9) <= 3) == (path == "relu")
