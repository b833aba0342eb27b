"""Matchers as whole objects against plain loops in float64: their terms, and what these add to the loss."""

import math

import pytest
import torch
from torch import nn

from limbeck.core import Batch, Clock, Linear, Objective, Peers
from limbeck.matching import AttentionTransfer, Coder, FactorTransfer, FitNet, InheritExplore, Overhaul, Paraphraser
from limbeck.models import ModelSpec, build_model
from limbeck.targets import CrossEntropy
from limbeck.tasks import Classification
from limbeck.teachers.teacher import Teacher

EXAMPLES = 3
CLOCK = Clock(1, 4, 3, 8)
# λ of the second of four epochs
HALFWAY = Linear(8.0)


def numbers(tensor):
    return tensor.detach().double().tolist()


def network(seed, width):
    """A network whose batch norms, in eval mode, do something."""
    torch.manual_seed(seed)
    net = build_model(ModelSpec("cnn", {"width": width}), 4, 1)
    stir(net)
    return net


def stir(module):
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, least in ((norm.weight, 0.5), (norm.bias, -0.2), (norm.running_mean, -0.2)):
                nn.init.uniform_(tensor, least, least + 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)


def maps(net, view):
    """Return what the layers put out, by path, as nested lists [B][C][H][W]."""
    found = {}
    for path in ("stem", "layer1", "layer2", "stem.bn", "layer1.bn", "layer2.bn"):
        out = []
        handle = net.get_submodule(path).register_forward_hook(
            lambda _, __, output, out=out: out.append(output.clone())
        )
        with torch.no_grad():
            net(view)
        handle.remove()
        found[path] = numbers(out[0])
    return found


def convolved(example, conv):
    """Convolve one example [C][H][W], zeros around it."""
    weight, size, pad, stride = numbers(conv.weight), conv.kernel_size, conv.padding[0], conv.stride[0]
    bias = [0.0] * len(weight) if conv.bias is None else numbers(conv.bias)
    height, width = len(example[0]), len(example[0][0])

    def at(c, i, j):
        return example[c][i][j] if 0 <= i < height and 0 <= j < width else 0.0

    rows, columns = (
        (side + 2 * pad - kernel) // stride + 1 for side, kernel in zip((height, width), size, strict=True)
    )
    return [
        [
            [
                bias[o]
                + math.fsum(
                    weight[o][c][a][b] * at(c, i * stride - pad + a, j * stride - pad + b)
                    for c in range(len(example))
                    for a in range(size[0])
                    for b in range(size[1])
                )
                for j in range(columns)
            ]
            for i in range(rows)
        ]
        for o in range(len(weight))
    ]


def normed(example, norm):
    mean, var, scale, shift = map(numbers, (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    return [
        [[(x - mean[c]) / math.sqrt(var[c] + norm.eps) * scale[c] + shift[c] for x in row] for row in rows]
        for c, rows in enumerate(example)
    ]


def through(example, layers):
    """Send one example through convolutions, batch norms in eval mode and ReLUs, leaky ones too."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            example = convolved(example, layer)
        elif isinstance(layer, nn.BatchNorm2d):
            example = normed(example, layer)
        else:
            slope = getattr(layer, "negative_slope", 0.0)
            example = [[[x if x > 0 else slope * x for x in row] for row in rows] for rows in example]
    return example


def flat(example):
    return [x for rows in example for row in rows for x in row]


def stretched(own, wanted):
    length, size = math.sqrt(sum(x * x for x in wanted)), math.sqrt(sum(x * x for x in own))
    return [x * length / size for x in own]


def margins(norm):
    """E[x | x < 0] of a normal distribution, per channel."""
    found = []
    for mean, std in zip(numbers(norm.bias), map(abs, numbers(norm.weight)), strict=True):
        share = math.erfc(mean / std / math.sqrt(2)) / 2
        density = math.exp(-((mean / std) ** 2) / 2) / math.sqrt(2 * math.pi)
        found.append(mean - std * density / share if share > 0.001 else -3 * std)
    return found


def partial(own, wanted):
    return sum((s - t) ** 2 for s, t in zip(own, wanted, strict=True) if s > t or t > 0)


class Found:
    """A matcher at work, and the distances of its terms by plain loops, given the channels of the student's part."""

    def __init__(self, matcher, taken=None):
        self.student, self.teacher = network(3, 4), network(4, 6)
        given = (Teacher(self.teacher), None, [matcher], (1, 8, 8), 7)
        self.objective = Objective(Peers([self.student]), CrossEntropy(), Classification(), *given)
        (self.link,) = self.objective.comparison.links
        stir(self.link.matcher)
        if taken is not None:
            stir(taken)
            self.link.matcher.take(taken)
        self.objective.eval()
        view = torch.randn(EXAMPLES, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        self.batch = Batch(torch.arange(EXAMPLES), (view,), torch.arange(EXAMPLES))
        self.own, self.theirs = maps(self.student, view), maps(self.teacher, view)

    def check(self, expected, weights):
        """Compare distances by name with those of a step, and their weighted sum with what the loss has more."""
        plain = Objective(Peers([self.student]), CrossEntropy(), Classification()).eval()
        label = float(plain(self.batch, CLOCK).loss.detach())
        step = self.objective(self.batch, CLOCK)
        for name, value in expected.items():
            assert value != 0
            assert float(step.parts[name]) == pytest.approx(EXAMPLES * value, rel=1e-4), name
        assert step.parts.keys() - expected.keys() == {"label"}
        more = EXAMPLES * sum(weights[name] * value for name, value in expected.items())
        assert float(step.loss.detach()) == pytest.approx(label + more, rel=1e-4)


def parts(channels, ratio):
    return range(int(channels * ratio)), range(int(channels * ratio), channels)


def only(example, channels):
    return [example[c] for c in channels]


LAYERS = ("stem", "layer1", "layer2")


def attention(found, naive_map, form, ratio=None):
    """Return the distances of the whole, or of the part that inherits and of the part that explores."""
    totals = [0.0, 0.0]
    for path in LAYERS:
        for own, theirs in zip(found.own[path], found.theirs[path], strict=True):
            split = [range(len(own))] if ratio is None else parts(len(own), ratio)
            for number, channels in enumerate(split):
                maps = naive_map(only(own, channels)), naive_map(theirs)
                gap = sum((a - b) ** 2 for a, b in zip(*maps, strict=True))
                totals[number] += gap / EXAMPLES / (len(maps[0]) if form == "mean" else 1)
    return totals


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_attention_over_three_layers(naive_map, form):
    found = Found(AttentionTransfer(HALFWAY, form=form))
    found.check({"attention": attention(found, naive_map, form)[0]}, {"attention": 4.0})


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_attention_inherited_and_explored(naive_map, form):
    found = Found(InheritExplore(AttentionTransfer(5.0, form=form), inherit=HALFWAY, explore=3.0))
    inherited, explored = attention(found, naive_map, form, 0.5)
    names = {"attention/inherit": inherited, "attention/explore": -explored}
    found.check(names, {"attention/inherit": 20.0, "attention/explore": 15.0})


def factors(found, matchers, splits, encoder, naive_unit, distance):
    """Return the distances of the parts."""
    totals = []
    for matcher, channels in zip(matchers, splits, strict=True):
        pairs = []
        for own, theirs in zip(found.own["layer2"], found.theirs["layer2"], strict=True):
            translator = getattr(matcher.translator, "encoder", matcher.translator)
            translated = through(only(own, channels), translator)
            pairs.append((naive_unit(flat(translated)), naive_unit(flat(through(theirs, encoder)))))
        cosines = [sum(a * b for a, b in zip(*pair, strict=True)) for pair in pairs]
        gaps = [abs(a - b) for pair in pairs for a, b in zip(*pair, strict=True)]
        l2 = math.sqrt(sum(gap * gap for gap in gaps) / len(gaps))
        mean = {"l1": sum(gaps) / len(gaps), "l2": l2, "cosine": 1 - sum(cosines) / len(cosines)}[distance]
        totals.append((mean, sum(map(abs, cosines)) / len(cosines) if distance == "cosine" else -mean))
    return totals


@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_factors_of_a_given_paraphraser(naive_unit, distance):
    torch.manual_seed(8)
    encoder = Paraphraser(24, 5).encoder
    found = Found(FactorTransfer(HALFWAY, factors=5, distance=distance), encoder)
    ((expected, _),) = factors(found, [found.link.matcher], [range(16)], encoder, naive_unit, distance)
    found.check({"factor": expected}, {"factor": 4.0})


@pytest.mark.parametrize("distance", ["l1", "cosine"])
def test_factors_inherited_and_explored(naive_unit, distance):
    matcher = FactorTransfer(5.0, coder="autoencoder", rate=0.125, distance=distance)
    torch.manual_seed(8)
    found = Found(InheritExplore(matcher, 0.75, inherit=2.0, explore=HALFWAY), taken := Coder(24, 3))
    own = found.link.matcher.parts
    split = factors(found, [own["inherit"], own["explore"]], parts(16, 0.75), taken, naive_unit, distance)
    names = {"factor/inherit": split[0][0], "factor/explore": split[1][1]}
    found.check(names, {"factor/inherit": 10.0, "factor/explore": 20.0})


def overhaul(found, matcher, channels, weights, explores):
    total = 0.0
    for i, path in enumerate(("stem.bn", "layer1.bn", "layer2.bn")):
        cut = margins(found.teacher.get_submodule(path))
        for own, theirs in zip(found.own[path], found.theirs[path], strict=True):
            connected = flat(through(only(own, channels(len(own))), matcher.connectors[i].layers))
            wanted = flat([[[max(x, cut[c]) for x in row] for row in rows] for c, rows in enumerate(theirs)])
            if explores:
                connected = stretched(connected, wanted)
            total += weights[i] * partial(connected, wanted) / EXAMPLES
    return -total if explores else total


@pytest.mark.parametrize("stages", [None, (0.5, 3.0, 0.1)])
def test_overhaul_with_margins_connectors_and_weights_of_stages(stages):
    found = Found(Overhaul(HALFWAY, stages=stages))
    expected = overhaul(found, found.link.matcher, range, stages or (0.25, 0.5, 1.0), explores=False)
    found.check({"overhaul": expected}, {"overhaul": 4.0})


def test_overhaul_inherited_and_explored():
    found = Found(InheritExplore(Overhaul(0.01, stages=(0.5, 3.0, 0.1))))
    own, names = found.link.matcher.parts, {}
    for number, name in enumerate(("inherit", "explore")):
        channels = lambda count, number=number: parts(count, 0.5)[number]  # noqa: E731
        names[f"overhaul/{name}"] = overhaul(found, own[name], channels, (0.5, 3.0, 0.1), explores=number == 1)
    found.check(names, dict.fromkeys(names, 0.01))


def hints(found, matcher, channels, form, explores):
    total, size = 0.0, 1
    for own, theirs in zip(found.own["layer1"], found.theirs["layer1"], strict=True):
        regressed, wanted = flat(through(only(own, channels), matcher.regressor.layers)), flat(theirs)
        if explores:
            regressed = stretched(regressed, wanted)
        size = len(wanted)
        total += sum((a - b) ** 2 for a, b in zip(regressed, wanted, strict=True))
    total /= EXAMPLES * (size if form == "mean" else 2)
    return -total if explores else total


@pytest.mark.parametrize("form", ["mean", "half"])
def test_hints(form):
    found = Found(FitNet(HALFWAY, form=form))
    found.check({"hint": hints(found, found.link.matcher, range(8), form, explores=False)}, {"hint": 4.0})


@pytest.mark.parametrize("form", ["mean", "half"])
def test_hints_inherited_and_explored(form):
    found = Found(InheritExplore(FitNet(0.5, form=form), 0.375, explore=4.0))
    own, names = found.link.matcher.parts, {}
    for name, channels in zip(("inherit", "explore"), parts(8, 0.375), strict=True):
        names[f"hint/{name}"] = hints(found, own[name], channels, form, explores=name == "explore")
    found.check(names, {"hint/inherit": 0.5, "hint/explore": 2.0})


def test_the_margins_that_are_measured_are_the_means_of_negative_responses():
    found = Found(Overhaul(margin="measured"))
    view = found.batch.views[0]
    matcher = found.link.matcher
    layers = [maps(found.teacher, view)[pair.teacher.path] for pair in found.link.pairs]
    halves = [[torch.tensor(one[part]) for one in layers] for part in (slice(1), slice(1, None))]
    matcher.settle(sum(matcher.survey(half) for half in halves))
    for i, layer in enumerate(layers):
        for c, cut in enumerate(numbers(matcher.get_buffer(f"margin_{i}"))):
            negative = [x for example in layer for row in example[c] for x in row if x < 0]
            assert cut == pytest.approx(sum(negative) / len(negative) if negative else 0.0, rel=1e-5)
