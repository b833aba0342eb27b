"""The stages of a classifier: what its own layers give, without its head, in every mode and after a copy."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d

from limbeck.core.layers import probe
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.models.stages import Body

NETWORKS = {
    "cnn": {"width": 4},
    "resnet8": {},
    "preact_resnet18": {},
    "resnet18": {},
    "densenet_bc_10_4": {},
    "mobilenet_v2": {},
    "shufflenet_v2": {},
    "plain_cnn": {},
    "wrn_10_1": {"dropout": 0.3},
    "torchvision:resnet18": {},
    "torchvision:squeezenet1_1": {},
    "timm:resnet18": {},
}


def built(name, **more):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    return build_model(ModelSpec(name, NETWORKS[name] | more), 10, 3)


def heard(network, paths, images):
    """What a classifier's own layers put out."""
    found, modules = {}, dict(network.named_modules())
    hooks = [
        modules[path].register_forward_hook(lambda _, inputs, output, path=path: found.update({path: output.clone()}))
        for path in paths
    ]
    torch.manual_seed(1)
    network(images)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_body_gives_what_the_classifiers_layers_give(name):
    classifier, images = built(name), torch.randn(2, 3, 32, 32)
    body = Body(copy.deepcopy(classifier), 5)
    bodies = [body, copy.deepcopy(body)]
    for training in (True, False, True):
        # before the copies have moved: batch norms learn from every pass in training
        for one in bodies:
            one.layers.load_state_dict({key: classifier.state_dict()[key] for key in one.layers.state_dict()})
            one.train(training)
        expected = heard(classifier.train(training), [stage.path for stage in body.stages], images)
        for one in bodies:
            torch.manual_seed(1)
            maps = one(images)
            assert list(maps) == list(expected)
            for path, given in maps.items():
                assert torch.equal(given, expected[path]), (path, training)


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_are_known_by_channels_and_stride(name):
    body = Body(built(name), 5).eval()
    maps = body(torch.zeros(1, 3, 128, 192))
    for stage, found in zip(body.stages, maps.values(), strict=True):
        assert stage.stride.bit_count() == 1
        assert found.shape[1] == stage.channels
        # some networks round up, some lose a border
        assert found.shape[2] / (128 / stage.stride) == pytest.approx(1, abs=0.15)
        assert found.shape[3] / (192 / stage.stride) == pytest.approx(1, abs=0.15)
    strides = [stage.stride for stage in body.stages]
    assert strides == sorted(set(strides))


@pytest.mark.parametrize("name", ["cnn", "resnet8", "wrn_10_1", "timm:resnet18"])
def test_the_head_leaves_nothing_behind(name):
    classifier = built(name)
    weights = classifier.state_dict()
    body = Body(classifier, 5)
    left = set(body.layers.state_dict())
    assert left < set(weights)
    assert not any(key.startswith(("head", "fc", "classifier")) for key in left)
    loss = sum(one.square().mean() for one in body(torch.randn(2, 3, 64, 64)).values())
    loss.backward()
    assert all(weight.grad is not None for weight in body.parameters())


def test_the_coarsest_stages_are_taken_first():
    body = Body(built("cnn"), 2)
    assert [tuple(stage) for stage in body.stages] == [("layer1", 8, 2), ("layer2", 16, 4)]


@pytest.mark.parametrize("name", ["cnn", "resnet8", "timm:resnet18"])
def test_frozen_norms_do_not_move(name):
    classifier = built(name)
    for norm in (module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    images = torch.randn(2, 3, 32, 32)
    body = Body(copy.deepcopy(classifier), 5, frozen=True).train()
    expected = heard(classifier.eval(), [stage.path for stage in body.stages], images)
    norms = {key: value.clone() for key, value in body.named_buffers()}
    trained = {key for key, weight in body.named_parameters() if weight.requires_grad}
    assert len(norms) >= 4
    assert not any("running" in key or ".bn" in key or "norm" in key for key in trained)
    optimiser = torch.optim.SGD(body.parameters(), 0.1)
    for path, given in body(images).items():
        torch.testing.assert_close(given, expected[path], rtol=1e-4, atol=1e-5)
    sum(one.square().mean() for one in body(images).values()).backward()
    optimiser.step()
    assert all(torch.equal(norms[key], value) for key, value in body.named_buffers())


def test_weights_are_taken_by_name_and_refused_by_what_differs():
    weights = built("resnet8").state_dict()
    torch.manual_seed(9)
    for frozen in (False, True):
        body = Body(build_model(ModelSpec("resnet8"), 10, 3), 3, frozen)
        body.take(weights, "a file")
        assert all(torch.equal(value, weights[key]) for key, value in body.layers.state_dict().items())
    with pytest.raises(LimbeckError, match=r"^a file: '.*' has shape \[16.*\], the backbone's has \[32.*\]: name"):
        Body(build_model(ModelSpec("resnet8", {"width": 2}), 10, 3), 3).take(weights, "a file")
    with pytest.raises(LimbeckError, match=r"^a file has no weights '.*': it is of another network"):
        Body(built("cnn"), 3).take(weights, "a file")


def test_looking_at_a_bodys_layers_leaves_it_in_training():
    class Branching(nn.Module):
        """Does otherwise in training, by a flag that tracing reads."""

        def __init__(self):
            super().__init__()
            self.layer1, self.layer2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)

        def forward(self, images):
            first = self.layer1(images)
            return self.layer2(functional.dropout(first, 0.5, self.training)).mean((2, 3))

    body = Body(Branching(), 5).train()
    images = torch.randn(2, 3, 32, 32)
    torch.manual_seed(0)
    before = body(images)["layer2"]
    probe(body, (3, 32, 32))
    assert all(module.training for module in body.modules())
    torch.manual_seed(0)
    assert torch.equal(body(images)["layer2"], before)
    assert not torch.equal(body.eval()(images)["layer2"], before)


@pytest.mark.parametrize("name", ["torchvision:vit_b_16", "torchvision:swin_t", "timm:vit_tiny_patch16_224"])
def test_transformers_are_refused_in_one_line(name):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    with torch.device("meta"):
        network = build_model(ModelSpec(name), 10, 3)
    with pytest.raises(LimbeckError) as refused:
        Body(network, 5)
    assert "feature stage" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_traced_is_refused_in_one_line():
    class Undecided(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer1, self.layer2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)

        def forward(self, images):
            found = self.layer1(images)
            return self.layer2(found) if float(found.sum()) > -1e9 else found

    with pytest.raises(LimbeckError, match=r"^the backbone cannot be cut into its stages: [^\n]*$"):
        Body(Undecided(), 5)


def test_a_frozen_norm_takes_the_place_of_every_batch_norm():
    body = Body(built("cnn"), 5, frozen=True)
    kinds = [type(module) for module in body.modules()]
    assert FrozenBatchNorm2d in kinds
    assert nn.BatchNorm2d not in kinds
