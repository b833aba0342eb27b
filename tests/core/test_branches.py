"""Branches of one stem: each is its network alone, the stem runs once, and what cannot be split is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from limbeck.core import LimbeckError
from limbeck.core.branches import Branches
from limbeck.models import ModelSpec
from limbeck.teachers.students import build_students


def branches(name="resnet8", split="layer3", count=3, channels=1):
    return Branches(build_students([ModelSpec(name)] * count, 5, channels, 0), split)


def of(make, split, count=2):
    torch.manual_seed(0)
    return Branches([make() for _ in range(count)], split)


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize(
    ("name", "split", "side"),
    [
        ("resnet8", "layer3", 8),
        ("resnet14", "layer3.1", 8),
        ("wrn_16_1", "layer3", 16),
        ("preact_resnet18", "layer4", 16),
        ("mobilenet_v2", "layer6", 32),
        ("densenet121", "features.denseblock4", 32),
        ("torchvision:resnet18", "layer4", 32),
        ("torchvision:densenet121", "features.denseblock4", 32),
        ("torchvision:efficientnet_b0", "classifier", 32),
        ("torchvision:swin_t", "features.6", 64),
        ("timm:resnet18", "layer4", 32),
        ("timm:convnext_atto", "stages.3", 32),
    ],
)
def test_a_branch_is_a_network_by_itself(name, split, side):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    names = list(build_students([ModelSpec(name)], 5, 3, 0)[0].state_dict())
    cohort = branches(name, split, count=2, channels=3)
    view = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    cohort.train()((view,))
    cohort.eval()
    with torch.no_grad():
        *said, ensemble = (output.logits for output in cohort((view,)))
        for i, logits in enumerate(said):
            network = cohort.alone(i)
            assert list(network.state_dict()) == names
            assert torch.equal(network(view), logits)
        assert torch.equal(cohort.alone(2)(view), ensemble)
    assert not torch.allclose(said[0], said[1])


def test_what_is_alone_shares_the_weights_and_can_be_loaded_into():
    cohort = branches()
    own = {id(weight) for weight in cohort.parameters()}
    for i in range(4):
        network = cohort.alone(i)
        assert all(id(weight) in own for weight in network.parameters())
        moved = {name: tensor + 1 for name, tensor in network.state_dict().items()}
        network.load_state_dict(moved)
        for name, tensor in cohort.alone(i).state_dict().items():
            assert torch.equal(tensor, moved[name]), name
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in cohort.alone(0).modules())


def test_the_stems_weights_are_there_once_and_every_weight_learns():
    cohort = branches()
    names = list(cohort.state_dict())
    assert not [name for name in names if name.startswith(("students.1.stem", "students.2.layer2"))]
    assert [name for name in names if name.endswith("stem.conv.weight")] == ["students.0.stem.conv.weight"]
    assert len(list(cohort.parameters())) == len([name for name in names if name in dict(cohort.named_parameters())])
    sum(output.logits.square().sum() for output in cohort((torch.randn(4, 1, 8, 8),))).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in cohort.parameters())


def test_the_stem_runs_once_a_forward_and_its_statistics_move_once():
    cohort = branches()
    calls = []
    cohort.students[0].layer2.register_forward_hook(lambda *_: calls.append("stem"))
    for i, student in enumerate(cohort.students):
        student.layer3.register_forward_hook(lambda *_, i=i: calls.append(i))
    cohort((torch.randn(4, 1, 8, 8),))
    assert calls == ["stem", 0, 1, 2]
    assert {module.num_batches_tracked.item() for module in cohort.modules() if isinstance(module, nn.BatchNorm2d)} == {
        1
    }


def test_the_stems_gradient_is_the_sum_over_branches():
    cohort = branches("cnn", "layer2").double()
    view = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    stem = [weight for name, weight in cohort.named_parameters() if ".stem." in name or ".layer1." in name]
    together = torch.autograd.grad(sum(output.logits.square().sum() for output in cohort((view,))[:3]), stem)
    apart = [torch.autograd.grad(cohort((view,))[i].logits.square().sum(), stem) for i in range(3)]
    torch.testing.assert_close(flat(together), sum(flat(gradients) for gradients in apart))
    # and each is that of the network alone
    for i, gradients in enumerate(apart):
        network = cohort.alone(i)
        own = torch.autograd.grad(
            network(view).square().sum(), [*network.stem.parameters(), *network.layer1.parameters()]
        )
        torch.testing.assert_close(flat(own), flat(gradients))


def test_a_copy_stands_by_itself_and_nothing_is_held():
    cohort = branches()
    view = torch.randn(4, 1, 8, 8)
    said = cohort((view,))[-1].logits
    twin = copy.deepcopy(cohort)
    with torch.no_grad():
        for weight in cohort.parameters():
            weight.zero_()
    found = twin((view,))[-1].logits
    assert torch.equal(found, said)
    for one in (cohort, twin):
        assert not one._memory.said
        assert one._memory.features is None
    with pytest.raises(RuntimeError):
        cohort((torch.randn(4, 3, 8, 8),))
    assert not cohort._memory.said


def test_layouts_and_mixed_precision_change_little():
    cohort = branches().eval()
    view = torch.randn(4, 1, 8, 8)
    plain = cohort((view,))[-1].logits
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(cohort((view,))[-1].logits, plain, rtol=0.1, atol=0.1)
    cohort.to(memory_format=torch.channels_last)
    torch.testing.assert_close(cohort((view,))[-1].logits, plain, rtol=1e-4, atol=1e-5)


class Overwriting(nn.Module):
    """What comes out of the stem is overwritten before, within or at the beginning of a branch's own layers."""

    def __init__(self, where):
        super().__init__()
        self.where = where
        self.stem = nn.Conv2d(1, 4, 3)
        self.act = nn.LeakyReLU(0.1, inplace=where == "module")
        self.own = nn.Sequential(nn.Dropout(0.5 * (where == "dropout"), inplace=True), nn.Conv2d(4, 5, 3))

    def forward(self, x):
        x = self.stem(x)
        if self.where == "function":
            x = functional.leaky_relu_(x, 0.1)
        elif self.where == "view":
            x.flatten(1).mul_(0.5)
        else:
            x = self.act(x)
        return self.own(x).mean((2, 3))


@pytest.mark.parametrize("where", ["function", "view", "module"])
@pytest.mark.parametrize("split", ["act", "own"])
def test_what_a_branch_overwrites_the_others_do_not_see(where, split):
    if split == "act" and where in {"function", "view"}:
        with pytest.raises(LimbeckError, match="'act' does not run"):
            of(lambda: Overwriting(where), split)
        return
    cohort = of(lambda: Overwriting(where), split, 3)
    view = torch.randn(4, 1, 8, 8)
    for training in (False, True):
        cohort.train(training)
        said = [output.logits for output in cohort((view,))[:3]]
        for i, logits in enumerate(said):
            assert torch.equal(cohort.alone(i)(view), logits)
        sum(logits.sum() for logits in said).backward()


def test_a_dropout_in_place_drops_for_its_own_branch_only():
    cohort = of(lambda: Overwriting("dropout"), "own", 3)
    with torch.no_grad():
        for student in cohort.students:
            student.own[1].weight.fill_(1.0)
            student.own[1].bias.fill_(0.0)
        means = torch.stack([output.logits.mean() for output in cohort((torch.ones(64, 1, 8, 8),))[:3]])
    # one after the other they would leave a half, a quarter and an eighth, each doubled
    torch.testing.assert_close(means, means.mean().expand(3), rtol=0.05, atol=0.0)
    assert len(set(means.tolist())) == 3


class Twice(nn.Module):
    """A layer without weights runs before and after the split; one with weights, if asked for."""

    def __init__(self, again=False):
        super().__init__()
        self.again = again
        self.relu = nn.ReLU()
        self.stem, self.more = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.own = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        x = self.relu(self.more(self.relu(self.more(self.relu(self.stem(x))))))
        x = self.relu(self.own(x))
        return self.head((self.more(x) if self.again else x).mean((2, 3)))


def test_layers_that_run_often():
    cohort = of(Twice, "own")
    view = torch.randn(4, 1, 8, 8)
    for i, output in enumerate(cohort((view,))[:2]):
        assert torch.equal(cohort.alone(i)(view), output.logits)
    assert not [name for name in cohort.state_dict() if name.startswith("students.1.more")]
    with pytest.raises(LimbeckError, match="layer 'more' runs before 'own' and again after it"):
        of(lambda: Twice(again=True), "own")


class Embedding(nn.Module):
    """Weights of its own before the split, in no layer."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.randn(4, 1, 1))
        self.stem, self.more, self.own = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 5, 3)

    def forward(self, x):
        return self.own(self.more(self.stem(x) + self.place)).mean((2, 3))


class Pair(nn.Module):
    """A layer that puts out two tensors."""

    class Both(nn.Conv2d):
        def forward(self, x):
            return super().forward(x), x

    def __init__(self):
        super().__init__()
        self.stem, self.own = self.Both(1, 4, 3), nn.Conv2d(4, 5, 3)

    def forward(self, x):
        return self.own(self.stem(x)[0]).mean((2, 3))


@pytest.mark.parametrize(
    ("make", "split", "reason"),
    [
        (Twice, "owm", "the network has no layer 'owm'; did you mean 'own'?"),
        (Twice, "layer3", "the network has no layer 'layer3'; see its layers: relu, stem, more, own, head, unused"),
        (Twice, "unused", "layer 'unused' does not run"),
        (Twice, "stem", "no layer with weights has finished when 'stem' begins: split at a later one"),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()),
            "1",
            "no weights are left to the branches from '1' on",
        ),
        (Embedding, "own", "the weights 'place' are used before 'own' and belong to a layer that ends after it"),
        (Pair, "own", "layer 'stem', before 'own', puts out more than one tensor"),
        (
            lambda: nn.Sequential(nn.Conv3d(1, 4, 3), nn.Conv3d(4, 4, 3)),
            "1",
            "the network reads no image of 32, 64, 224",
        ),
    ],
)
def test_networks_that_cannot_be_split_are_refused_in_a_line(make, split, reason):
    with pytest.raises(LimbeckError, match=reason.replace("?", r"\?")) as refused:
        of(make, split)
    assert "\n" not in str(refused.value)


def test_too_few_unequal_or_equal_networks_are_refused():
    one, other = build_students([ModelSpec("resnet8"), ModelSpec("resnet14")], 5, 1, 0)
    with pytest.raises(LimbeckError, match="two networks or more, here is 1"):
        Branches([one], "layer3")
    with pytest.raises(LimbeckError, match="networks of one architecture"):
        Branches([one, other], "layer3")
    with pytest.raises(LimbeckError, match="branches 0 and 1 have the same weights"):
        Branches([one, copy.deepcopy(one)], "layer3")


def test_turns_and_several_views_are_refused():
    cohort, view = branches(), torch.randn(4, 1, 8, 8)
    with pytest.raises(LimbeckError, match="cannot step in turns"):
        cohort((view,), 0)
    with pytest.raises(LimbeckError, match="look at one view, not at 2"):
        cohort((view, view))
