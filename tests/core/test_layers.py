"""Taps: what layers put out, what a probe says of them, and where the stages of a network end."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from limbeck.core import LimbeckError
from limbeck.core.layers import block_ends, ends_before_relu, layer_at, probe, stage_ends
from limbeck.core.taps import Tap, Taps
from limbeck.models import ModelSpec, build_model


class Net(nn.Module):
    def __init__(self, inplace):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.relu = nn.ReLU(inplace=inplace)
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        return self.relu(self.bn(self.conv(x))).mean((2, 3))


class ByHand(Net):
    def forward(self, x):
        return self.bn(self.conv(x)).relu_().mean((2, 3))


class Shared(Net):
    """One ReLU module for two layers, and a sum in place, as torchvision's residual networks have."""

    def __init__(self, inplace):
        super().__init__(inplace)
        self.bn2 = nn.BatchNorm2d(2)

    def forward(self, x):
        x = self.relu(self.bn(self.conv(x)))
        y = self.bn2(x)
        y += x
        return self.relu(y).mean((2, 3))


def heard(net, paths, view, **options):
    taps = Taps(net, [Tap(path) for path in paths], probe(net, view.shape[1:]), **options)
    with taps.listening():
        logits = net(view)
    (only,) = taps.take()
    return logits, {tap.path: one.kept for tap, one in only.items()}


@pytest.mark.parametrize("kind", [Net, ByHand])
@pytest.mark.parametrize("inplace", [True, False])
def test_a_tap_hears_what_the_layer_put_out_also_where_it_is_overwritten(kind, inplace):
    torch.manual_seed(0)
    net = kind(inplace).eval()
    view = torch.randn(3, 1, 6, 6)
    plain = net(view)
    logits, found = heard(net, ["bn"], view)
    expected = net.bn(net.conv(view))
    assert torch.equal(found["bn"], expected)
    assert torch.equal(logits, plain)
    # on the way to the logits, so that a gradient at the layer holds both
    (gradient,) = torch.autograd.grad(logits.sum(), found["bn"])
    assert torch.equal(gradient > 0, expected > 0)


def test_what_is_kept_may_be_less_than_the_output():
    net, view = Net(False).eval(), torch.randn(3, 1, 6, 6)
    tap = Tap("bn", lambda features: features.square().mean(1))
    taps = Taps(net, [tap, Tap("bn")], probe(net, (1, 6, 6)))
    with taps.listening():
        net(view)
        net(2 * view)
    first, second = taps.take()
    assert first[tap].kept.shape == (3, 4, 4)
    assert first[tap].output is None
    assert torch.equal(second[tap].kept, second[Tap("bn")].kept.square().mean(1))
    with taps.listening():
        pass
    with pytest.raises(LimbeckError, match="layer 'bn' did not run"):
        taps.take()


def test_only_what_is_asked_for_is_heard_and_nothing_stays_behind():
    net, view = Net(False).eval(), torch.randn(3, 1, 6, 6)
    before = net.state_dict().keys()
    taps = Taps(net, [Tap("relu")], probe(net, (1, 6, 6)))
    net(view)
    assert taps.take() == []
    twin = copy.deepcopy(net)
    with taps.listening():
        net(view)
    assert len(taps.take()) == 1
    taps.close()
    assert net.state_dict().keys() == before == twin.state_dict().keys()
    assert not net.relu._forward_hooks


def test_a_compiled_network_is_heard():
    torch.manual_seed(0)
    net, view = Net(True).train(), torch.randn(3, 1, 6, 6)
    twin = copy.deepcopy(net)
    taps = Taps(net, [Tap("bn")], probe(net, (1, 6, 6)))
    net.compile(backend="eager")
    with taps.listening():
        net(view).sum().backward()
    (found,) = taps.take()
    assert torch.allclose(found[Tap("bn")].kept, twin.bn(twin.conv(view)))
    net(view)
    assert taps.take() == []


def test_a_probe_leaves_the_network_as_it_was():
    net = build_model(ModelSpec("resnet8"), 10, 3)
    net.layer2.eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    probe(net, (3, 32, 32))
    assert modes == [module.training for module in net.modules()]
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_a_probe_says_what_goes_through_a_relu():
    layers = probe(Net(True), (1, 6, 6))
    assert layers["bn"].before_relu
    assert layers["bn"].overwritten
    assert not layers["conv"].before_relu
    assert not layers["relu"].before_relu
    assert "unused" not in layers
    shared = probe(Shared(False), (1, 6, 6))
    assert shared["relu"].runs == 2
    # what goes through the ReLU is the sum, not what the batch norm put out
    assert not shared["bn2"].before_relu
    assert shared["bn2"].overwritten


@pytest.mark.parametrize(
    ("model", "ends", "before"),
    [
        ("resnet8", ["layer1", "layer2", "layer3"], ["layer1.0.add", "layer2.0.add", "layer3.0.add"]),
        ("wrn_16_2", ["layer1", "layer2", "last"], ["layer2.0.bn1", "layer3.0.bn1", "last.bn"]),
        # the first 1x1 convolution of a bottleneck runs at the size of the stage before
        (
            "resnet50",
            ["layer1", "layer2", "layer3", "layer4"],
            ["layer1.2.add", "layer2.3.add", "layer3.5.add", "layer4.2.add"],
        ),
        (
            "torchvision:resnet18",
            ["layer1", "layer2", "layer3", "layer4"],
            ["layer1.1.bn1", "layer2.1.bn1", "layer3.1.bn1", "layer4.1.bn1"],
        ),
    ],
)
def test_stages_end_where_the_papers_tap(model, ends, before):
    with torch.device("meta"):
        net = build_model(ModelSpec(model), 10, 3)
    layers = probe(net, (3, 224, 224) if "torchvision" in model else (3, 32, 32))
    assert [layer.path for layer in stage_ends(layers)] == ends
    assert [layer.path for layer in ends_before_relu(layers)] == before


@pytest.mark.parametrize(
    ("model", "size", "blocks"),
    [
        ("cnn", 8, ["stem", "layer1", "layer2"]),
        # a stage puts out what its last block does, so that one is left out
        ("resnet14", 32, ["stem", "layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3"]),
        ("wrn_16_2", 32, ["layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3", "last"]),
        ("torchvision:vit_b_16", 224, ["conv_proj"]),
    ],
)
def test_blocks_end_inside_of_stages(model, size, blocks):
    with torch.device("meta"):
        net = build_model(ModelSpec(model), 10, 3)
    assert [layer.path for layer in block_ends(probe(net, (3, size, size)))] == blocks


def test_of_many_blocks_some_are_left_but_every_stage():
    with torch.device("meta"):
        layers = probe(build_model(ModelSpec("resnet56"), 10, 3), (3, 32, 32))
    assert len(block_ends(layers, most=100)) == 1 + 3 * 9
    few = [layer.path for layer in block_ends(layers)]
    assert len(few) == 20
    assert few == [path for path in layers if path in few]
    assert {"layer1", "layer2", "layer3"} <= set(few)
    assert [layer.path for layer in block_ends(layers, most=2)] == ["layer1", "layer2", "layer3"]


def test_what_prepares_the_images_is_no_end_of_a_stage():
    backbone = build_model(ModelSpec("resnet8"), 10, 3)
    layers = probe(nn.Sequential(nn.Identity(), nn.AvgPool2d(2), backbone), (3, 32, 32))
    assert [layer.path for layer in stage_ends(layers)] == ["2.layer1", "2.layer2", "2.layer3"]
    flat = nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    assert [layer.path for layer in stage_ends(probe(flat, (3, 8, 8)))] == ["3"]


def test_the_norm_of_a_layer_is_the_last_one_before_it():
    net = build_model(ModelSpec("resnet8", {"shortcut": "conv"}), 10, 3)
    layers = probe(net, (3, 32, 32))
    assert layers["layer1.0.add"].norm is net.layer1[0].bn2
    assert layers["stem.bn"].norm is net.stem.bn
    assert layers["stem.conv"].norm is None
    # the shortcut's batch norm runs after that of the branch
    assert layers["layer3.0.add"].norm is net.layer3[0].bn2
    assert layers["layer3.0.shortcut"].norm is net.layer3[0].shortcut.bn
    # it puts out as many channels as the batch norm before it, but nothing that is normalised
    assert layers["layer1.0.conv2"].norm is None


def test_no_norm_is_known_behind_a_convolution_that_comes_after_it():
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.ReLU()
    )
    layers = probe(net, (1, 8, 8))
    assert layers["1"].norm is net[1]
    assert layers["4"].before_relu
    assert layers["4"].norm is None


def test_squeeze_and_excitation_leaves_the_norm_of_what_it_rescales():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)
            self.weigh, self.add = nn.Conv2d(8, 8, 1), nn.Identity()

        def forward(self, x):
            x = self.bn(self.conv(x))
            return self.add(x * self.weigh(x.mean((2, 3), keepdim=True)).sigmoid()).relu()

    net = Squeezed()
    assert probe(net, (1, 8, 8))["add"].norm is net.bn


def test_the_norm_of_a_layer_inside_of_a_batch_norm_is_that_one():
    class WithActivation(nn.BatchNorm2d):
        """As timm's."""

        def __init__(self, channels):
            super().__init__(channels)
            self.drop, self.act = nn.Identity(), nn.ReLU()

        def forward(self, x):
            return self.act(self.drop(super().forward(x)))

    net = nn.Sequential(nn.Conv2d(1, 2, 3), WithActivation(2), nn.Conv2d(2, 2, 3), WithActivation(2))
    layers = probe(net, (1, 8, 8))
    assert layers["1.drop"].before_relu
    assert layers["1.drop"].norm is net[1]
    assert layers["3.drop"].norm is net[3]


def test_what_squeeze_and_excitation_weighs_by_is_no_stage():
    class Weighed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1))
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.weigh = nn.Sequential(nn.Conv2d(2, 1, 1), nn.ReLU(), nn.Conv2d(1, 2, 1))
            self.last = nn.Sequential(nn.Conv2d(2, 2, 3, 2), nn.Conv2d(2, 2, 3, padding=1))

        def forward(self, x):
            x = self.conv(x)
            return self.last(x * self.weigh(self.pool(x))).mean((2, 3))

    layers = probe(Weighed(), (1, 8, 8))
    assert [layer.path for layer in stage_ends(layers)] == ["conv", "last"]
    assert ends_before_relu(layers) == []
    # a network whose last stage has come down to one pixel has it all the same
    assert [layer.shape for layer in stage_ends(probe(Weighed(), (1, 4, 4)))] == [(2, 4, 4), (2, 1, 1)]


def test_a_layer_that_cannot_be_tapped_is_refused():
    layers = probe(build_model(ModelSpec("resnet8"), 10, 3), (3, 32, 32))
    with pytest.raises(LimbeckError, match=r"the teacher has no layer 'layer33'.*did you mean 'layer3'"):
        layer_at(layers, "layer33", "the teacher")
    with pytest.raises(LimbeckError, match=r"layer 'flatten' of the student puts out 64 numbers for an image, not"):
        layer_at(layers, "flatten", "the student")
    vision = probe(torchvision.models.resnet18(num_classes=10), (3, 64, 64))
    with pytest.raises(LimbeckError, match=r"layer 'layer1.0.relu' of the student runs 2 times .* 'layer1.0"):
        layer_at(vision, "layer1.0.relu", "the student")
    with pytest.raises(LimbeckError, match=r"cannot read images of 1×8×8: .*channels"):
        probe(torchvision.models.resnet18(num_classes=10), (1, 8, 8))


def test_an_overwriting_that_no_probe_could_foresee_is_refused():
    class Sometimes(Net):
        def forward(self, x):
            y = self.bn(self.conv(x))
            y = functional.relu(y, inplace=self.training)
            return y.mean((2, 3))

    net, view = Sometimes(False), torch.randn(3, 1, 6, 6)
    taps = Taps(net, [Tap("bn")], probe(net, (1, 6, 6)))
    net.train()
    with taps.listening(), torch.no_grad():
        net(view)
    with pytest.raises(LimbeckError, match="'bn' was overwritten in place"):
        taps.take()
