"""Relevance maps: conserved, by the rules, and never handed out where the rules do not see everything."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus, EpsilonPlusFlat

from limbeck.analysis.relevance import TOLERANCE, relevance
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.models.layers import Add
from limbeck.models.pyramidnet import PyramidNet


def awake(network):
    """Give batch norms statistics as training would, with scales below 0 among them, in float64."""
    network.double().eval()
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
            if layer.weight is not None:
                layer.weight.data.normal_(0.7, 0.7)
                layer.bias.data.normal_(0, 0.3)
    return network


def make(name, **options):
    torch.manual_seed(0)
    return awake(build_model(ModelSpec(name, options), 5, 3))


def images(count=2, side=8, channels=3):
    return torch.randn(count, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


FAMILIES = [
    ("cnn", {}, 8),
    ("cnn", {"norm": "none"}, 9),
    ("resnet8", {}, 8),
    ("resnet14", {"shortcut": "conv"}, 9),
    ("wrn_10_1", {"dropout": 0.3}, 8),
    ("wrn_16_2", {}, 8),
    ("preact_resnet18", {}, 8),
    ("resnet18", {}, 8),
    ("resnet50", {}, 8),
    ("resnext29_8x64d", {}, 8),
    ("densenet121", {}, 8),
    ("densenet121", {"transition": "bn"}, 8),
    ("googlenet", {}, 8),
    ("mobilenet_v2", {}, 8),
    ("shufflenet_v2", {}, 8),
    ("plain_cnn", {}, 8),
    ("torchvision:resnet18", {}, 32),
    ("torchvision:resnet50", {}, 32),
    ("torchvision:mobilenet_v2", {}, 32),
    ("torchvision:densenet121", {}, 32),
    ("torchvision:squeezenet1_1", {}, 32),
    ("timm:mobilenetv2_050", {}, 32),
]


@pytest.mark.parametrize(("name", "options", "side"), FAMILIES)
def test_relevance_sums_up_to_the_logit(name, options, side):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    network, x, classes = make(name, **options), images(side=side), torch.tensor([0, 3])
    maps = relevance(network, x, classes)
    assert maps.shape == x.shape
    logits = network(x).gather(1, classes[:, None])[:, 0]
    assert torch.allclose(maps.flatten(1).sum(1), logits, rtol=1e-7, atol=1e-9)


def test_pyramids_conserve_it_with_shakedrop():
    torch.manual_seed(0)
    network, x = awake(PyramidNet(depth=11, alpha=12, classes=5, channels=3, shakedrop=0.5)), images()
    maps = relevance(network, x, torch.tensor([4, 4]))
    assert torch.allclose(maps.flatten(1).sum(1), network(x)[:, 4], rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "layer", "channels"),
    [
        ("cnn", "layer2", 32),
        ("resnet8", "layer3", 64),
        ("resnet8", "layer2.0.add", 32),
        ("wrn_10_1", "layer3", 64),
        ("densenet121", "features.transition2", 256),
        ("mobilenet_v2", "last.bn", 1280),
    ],
)
def test_disjoint_parts_of_a_layer_add_up_to_the_whole(name, layer, channels):
    network, x, classes = make(name), images(3), torch.tensor([0, 1, 2])
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(2))
    first, second = order[: channels // 3], order[channels // 3 :].tolist()
    parts = [relevance(network, x, classes, through=(layer, part), batch_size=2) for part in (first, second)]
    whole = relevance(network, x, classes)
    assert torch.allclose(parts[0] + parts[1], whole, atol=1e-12)
    assert not torch.allclose(parts[0], whole, atol=1e-3 * float(whole.abs().max()))


class Tiny(nn.Module):
    """Every rule in one network of a few numbers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(2)
        self.conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.add = Add()
        self.pool = nn.AvgPool2d(2)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        # defined in another order than they run
        return self.head(self.flatten(self.pool(self.relu(self.add(self.norm(self.conv(x)), x)))))


def hand(found, shares):
    """Add to each input its share of one unit's relevance; evenly where the shares sum to 0."""
    relevance, by_input = shares
    total = sum(by_input.values())
    for place, share in by_input.items():
        found[place] += relevance * share / total if total else relevance / len(by_input)


def naive(network, x, label, flat):
    """The equations of the rules, in plain loops; `x` is [rows][columns]."""
    side, padded = len(x), len(x) + 1
    w1, b1 = network.stem.weight.tolist(), network.stem.bias.tolist()
    norm = network.norm
    weight, bias, mean, var = (one.tolist() for one in (norm.weight, norm.bias, norm.running_mean, norm.running_var))
    scale = [weight[o] / (var[o] + norm.eps) ** 0.5 for o in (0, 1)]
    shift = [bias[o] - mean[o] * scale[o] for o in (0, 1)]
    w2 = [[[[w * scale[o] for w in row] for row in plane] for plane in network.conv.weight.tolist()[o]] for o in (0, 1)]
    w3, b3 = network.head.weight.tolist(), network.head.bias.tolist()

    def seen(o, r, c, planes, weights, reach, size):
        """Yield place and contribution of each input of unit (o, r, c)."""
        for i, plane in enumerate(planes):
            for dr in range(len(weights[o][i])):
                for dc in range(len(weights[o][i][dr])):
                    at = (i, r + dr - reach, c + dc - reach)
                    if 0 <= at[1] < size and 0 <= at[2] < size:
                        yield at, plane[at[1]][at[2]] * weights[o][i][dr][dc]

    units = [(o, r, c) for o in (0, 1) for r in range(padded) for c in range(padded)]
    before = {u: b1[u[0]] + sum(z for _, z in seen(*u, [x], w1, 1, side)) for u in units}
    a = [[[max(0.0, before[o, r, c]) for c in range(padded)] for r in range(padded)] for o in (0, 1)]
    branch = {u: shift[u[0]] + sum(z for _, z in seen(*u, a, w2, 1, padded)) for u in units}
    joined = {u: max(0.0, branch[u] + a[u[0]][u[1]][u[2]]) for u in units}
    half = padded // 2
    pooled = {
        (o, r, c): sum(joined[o, 2 * r + i, 2 * c + j] for i in (0, 1) for j in (0, 1)) / 4
        for o in (0, 1) for r in range(half) for c in range(half)
    }  # fmt: skip
    places = list(pooled)
    logit = b3[label] + sum(w3[label][k] * pooled[u] for k, u in enumerate(places))

    r_pooled = dict.fromkeys(places, 0.0)
    hand(r_pooled, (logit, {u: w3[label][k] * pooled[u] for k, u in enumerate(places)}))
    r_joined = dict.fromkeys(units, 0.0)
    for o, r, c in places:
        under = [(o, 2 * r + i, 2 * c + j) for i in (0, 1) for j in (0, 1)]
        hand(r_joined, (r_pooled[o, r, c], {u: joined[u] / 4 for u in under}))
    r_a = dict.fromkeys(units, 0.0)
    for u in units:
        sizes = abs(branch[u]), abs(a[u[0]][u[1]][u[2]])
        r_a[u] += r_joined[u] * sizes[1] / sum(sizes)
        own = r_joined[u] * sizes[0] / sum(sizes)
        hand(r_a, (own, {at: max(0.0, z) for at, z in seen(*u, a, w2, 1, padded)}))
    r_x = {(0, r, c): 0.0 for r in range(side) for c in range(side)}
    for u in units:
        hand(r_x, (r_a[u], {at: 1.0 if flat else max(0.0, z) for at, z in seen(*u, [x], w1, 1, side)}))
    return torch.tensor([[r_x[0, r, c] for c in range(side)] for r in range(side)], dtype=torch.float64)


@pytest.mark.parametrize("composite", ["epsilon_plus_flat", "epsilon_plus"])
@pytest.mark.parametrize("label", [0, 2])
def test_maps_are_those_of_the_naive_rules(composite, label):
    torch.manual_seed(3)
    network = awake(Tiny())
    # the second channel of the stem lives by its bias alone, wherever it is seen
    network.stem.weight.data[1] = -network.stem.weight.data[1].abs()
    network.stem.bias.data[1] = 3.0
    x = images(1, side=3, channels=1).abs()
    (found,) = relevance(network, x, torch.tensor([label]), composite)
    expected = naive(network, x[0, 0].tolist(), label, flat=composite == "epsilon_plus_flat")
    assert torch.allclose(found[0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("composite", "theirs"), [("epsilon_plus_flat", EpsilonPlusFlat), ("epsilon_plus", EpsilonPlus)]
)
def test_without_residual_blocks_maps_are_zennits(composite, theirs):
    network, x = make("cnn"), images(2)
    ours = relevance(network, x, torch.tensor([1, 1]), composite)
    rules = theirs(canonizers=[SequentialMergeBatchNorm()], zero_params="bias", epsilon=1e-12, stabilizer=1e-12)
    with Gradient(model=network, composite=rules) as attribute:
        _, expected = attribute(x.clone().requires_grad_(), lambda z: z * torch.eye(5, dtype=z.dtype)[1])
    # zennit leaves the batch norm's own epsilon behind when it merges
    assert torch.allclose(ours, expected, rtol=1e-3, atol=1e-4 * float(ours.abs().max()))


def test_a_layer_that_runs_twice_is_two_layers():
    torch.manual_seed(0)
    conv, relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()
    tail = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    once = nn.Sequential(conv, relu, conv, relu, *tail).double()
    twice = nn.Sequential(*(copy.deepcopy(layer) for layer in (conv, relu, conv, relu)), *tail).double()
    x, classes = images(), torch.tensor([0, 1])
    # which is first is told by the layer: so without the rule of its own for the first
    maps = [relevance(network, x, classes, "epsilon_plus") for network in (once, twice)]
    assert torch.equal(maps[0], maps[1])


def test_batches_and_other_images_change_nothing():
    network, x, classes = make("resnet8"), images(5), torch.tensor([0, 1, 2, 3, 4])
    whole = relevance(network, x, classes)
    assert torch.allclose(relevance(network, x, classes, batch_size=2), whole, atol=1e-12)
    assert torch.allclose(relevance(network, x[3:4], classes[3:4]), whole[3:4], atol=1e-12)


class Own(nn.Module):
    """A network of one's own, that pools or adds by functions."""

    def __init__(self, pools, adds):
        super().__init__()
        self.pools, self.adds = pools, adds
        self.stem, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.pool, self.head = nn.AvgPool2d(8), nn.Linear(4, 5)

    def forward(self, x):
        skip = self.relu(self.stem(x))
        out = self.norm(self.conv(skip))
        if self.adds:
            out += skip
        out = functional.avg_pool2d(self.relu(out), 8) if self.pools else self.pool(self.relu(out))
        return self.head(out.flatten(1))


@pytest.mark.parametrize(
    ("pools", "adds", "names"), [(True, True, "Add, AvgPool2D"), (True, False, "AvgPool2D"), (False, True, "Add")]
)
def test_what_the_rules_do_not_see_is_refused_in_one_line(pools, adds, names):
    torch.manual_seed(0)
    network = awake(Own(pools, adds))
    with pytest.raises(LimbeckError) as refused:
        relevance(network, images(), torch.tensor([0, 1]))
    said = str(refused.value)
    assert f"the rules do not see some operations of this architecture ({names})" in said
    assert "a gap of " in said
    assert "\n" not in said


def test_functional_pooling_would_pass_a_look_at_the_sum_alone():
    """Its map is wrong, and sums up to the logit all the same: that is why operations are looked at, too."""
    torch.manual_seed(0)
    with pytest.raises(LimbeckError, match=r"a gap of (0|\de-1\d)"):
        relevance(awake(Own(pools=True, adds=False)), images(), torch.tensor([0, 1]))


def test_what_is_allowed_but_loses_relevance_is_refused():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pool, self.head = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 5)

        def forward(self, x):
            return self.head(self.pool(functional.pad(self.conv(x), (1, 1, 1, 1), value=0.7)).flatten(1))

    torch.manual_seed(0)
    with pytest.raises(LimbeckError, match=r"a gap of .*; no rule fits"):
        relevance(Cut().double(), images(), torch.tensor([0, 1]))


def test_a_batch_norm_whose_input_goes_elsewhere_too_is_not_merged():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
            self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

        def forward(self, x):
            x = self.conv(x)
            return self.head(self.pool(self.relu(torch.cat([x, self.norm(x)], dim=1))).flatten(1))

    torch.manual_seed(0)
    network, x = awake(Both()), images()
    maps = relevance(network, x, torch.tensor([0, 0]))
    assert torch.allclose(maps.flatten(1).sum(1), network(x)[:, 0], rtol=1e-9)


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_stays_as_it_was(fails):
    torch.manual_seed(0)
    network = Own(pools=fails, adds=fails)
    network.norm.eval()
    network.head.weight.requires_grad_(False)
    heard = []
    network.conv.register_forward_hook(lambda *_: heard.append(1))

    def state():
        return (
            {name: (id(tensor), tensor._version) for name, tensor in network.state_dict(keep_vars=True).items()},
            [(module.training, len(module._forward_hooks), len(module._forward_pre_hooks), vars(module).keys())
             for module in network.modules()],
            [(weight.requires_grad, weight.grad) for weight in network.parameters()],
            network.relu.inplace,
        )  # fmt: skip

    before, numbers = state(), {name: value.clone() for name, value in network.state_dict().items()}
    try:
        relevance(network, images().float(), torch.tensor([0, 1]))
    except LimbeckError:
        assert fails
    else:
        assert not fails
    assert state() == before
    assert all(torch.equal(value, numbers[name]) for name, value in network.state_dict().items())


def test_float32_in_float32_out():
    network, x = make("resnet8").float(), images().float()
    maps = relevance(network.train(), x.requires_grad_(), torch.tensor([1, 2], dtype=torch.int32))
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    logits = network.eval()(x).detach()[[0, 1], [1, 2]]
    assert torch.allclose(maps.double().flatten(1).sum(1), logits.double(), rtol=TOLERANCE)


@pytest.mark.parametrize(
    ("layer", "channels", "expected"),
    [
        ("layer9", [0], "no layer 'layer9'; did you mean"),
        ("", [0], "no layer ''"),
        ("layer3", [64], "has the channels 0..63"),
        ("layer3", [-1], "has the channels 0..63"),
        ("layer3", [], "choose among them, one at least"),
        ("layer3.0.conv2", [0], "the rest passes it by"),
        ("layer1.0.shortcut", [0], "the rest passes it by"),
    ],
)
def test_a_layer_that_does_not_do_is_one_line(layer, channels, expected):
    with pytest.raises(LimbeckError) as refused:
        relevance(make("resnet8"), images(), torch.tensor([0, 1]), through=(layer, channels))
    assert expected in str(refused.value)


def test_a_layer_that_runs_twice_is_none_to_look_through():
    relu = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 4, 3), relu, nn.Flatten(), nn.Linear(64, 5)).double()
    with pytest.raises(LimbeckError, match="layer '1' runs 2 times"):
        relevance(network, images(), torch.tensor([0, 1]), through=("1", [0]))


@pytest.mark.parametrize(
    ("count", "classes", "composite", "expected"),
    [
        (2, [0, 5], "epsilon_plus", "classes must lie in 0..4"),
        (2, [-1, 0], "epsilon_plus", "classes must lie in 0..4"),
        (0, [], "epsilon_plus", "one at least"),
        (2, [0, 1], "epsilon_plus_flats", "did you mean 'epsilon_plus_flat'?"),
    ],
)
def test_a_misuse_is_one_line(count, classes, composite, expected):
    call = relevance.__wrapped__ if composite == "epsilon_plus_flats" else relevance
    with pytest.raises(LimbeckError) as refused:
        call(make("cnn"), images(count), torch.tensor(classes, dtype=torch.int64), composite)
    assert expected in str(refused.value)


def test_without_zennit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "zennit", None)
    with pytest.raises(LimbeckError) as refused:
        relevance(make("cnn"), images(), torch.tensor([0, 1]))
    assert str(refused.value) == (
        "relevance maps need zennit, which is not installed: pip install 'limbeck[relevance]'"
    )  # fmt: skip
