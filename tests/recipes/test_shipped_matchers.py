"""The recipes that match representations: their layers are there at every scale, and their settings are the papers'."""

import copy

import pytest
import torch

from limbeck.core.layers import probe
from limbeck.models import ModelSpec
from limbeck.recipes import read_recipe, recipe_names, recipe_tree
from limbeck.recipes.scale import SCALES
from limbeck.teachers.relation import outline

MATCHING = [name for name in recipe_names() if "matchers" in str(recipe_tree(name))]
SIDES = {"tiny": 32, "small": 32, "paper": 32}
LARGE = {"tiny": 32, "small": 64, "paper": 224}


@pytest.fixture(scope="module")
def layers():
    """Return a function that finds a network's layers, each network once."""
    known = {}

    def find(model, side):
        if (repr(model), side) not in known:
            known[repr(model), side] = probe(outline(model), (3, side, side))
        return known[repr(model), side]

    return find


@pytest.fixture(scope="module")
def compared(layers):
    """Return a function that says which layers a recipe's matchers compare, after making what is between them."""

    def compare(name, scale="paper"):
        plan = read_recipe(name, [f"scale={scale}"])
        (stage,) = (stage for stage in plan.stages.values() if stage.matchers)
        side = (LARGE if "imagenet" in name or "detection" in name else SIDES)[scale]
        students = [layers(model, side) for model in stage.networks]
        found = []
        for matcher in stage.matchers:
            if matcher.between == "teacher":
                sources = [(students[0], layers(plan.stages[stage.teacher.stage].model, side))]
            else:
                sources = [(students[0], students[1]), (students[1], students[0])]
            for both in sources:
                own = copy.deepcopy(matcher)
                pairs = own.choose(*both)
                with torch.device("meta"):
                    own.prepare(pairs)
                found.append([(pair.student.path, pair.teacher.path) for pair in pairs])
        return found

    return compare


@pytest.mark.parametrize("scale", [*SCALES, "paper"])
def test_matchers_of_every_recipe_find_their_layers(compared, scale):
    assert len(MATCHING) == 40 + 18 + 21 + 4 + 2 + 7 + 4 + 3
    for name in MATCHING:
        assert all(compared(name, scale)), name


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("overhaul/wrn_16_4_od_wrn_28_4", ["layer2.0.bn1", "layer3.0.bn1", "last.bn"]),
        ("cifar10/wrn_16_1_at_wrn_16_2", ["layer1", "layer2", "layer3"]),
        ("cifar10/wrn_16_1_ie_ft_wrn_16_2", ["last"]),
        ("cifar10/resnet20_ie_ft_resnet56", ["layer3"]),
        ("repdistiller/wrn_16_2_ft_wrn_40_2", ["layer3"]),
        ("repdistiller/resnet20_fitnet_resnet110", ["layer2"]),
        ("repdistiller/shufflenet_v2_at_resnet32x4", ["layer1", "layer2", "layer3"]),
        ("imagenet/resnet18_at_resnet34", ["layer1", "layer2", "layer3", "layer4"]),
    ],
)
def test_the_layers_are_those_of_the_authors_codes(compared, name, pairs):
    assert compared(f"iekd/{name}") == [[(path, path) for path in pairs]]


def test_features_of_vgg_are_compared_at_the_size_of_the_wrn_s(compared):
    ends = [("features.5", "layer1"), ("features.12", "layer2"), ("features.19", "layer3")]
    assert compared("iekd/cifar10/vgg13_ie_at_wrn_46_4") == [ends]
    before = [("features.4", "layer2.0.bn1"), ("features.11", "layer3.0.bn1"), ("features.18", "last.bn")]
    assert compared("iekd/cifar10/vgg13_od_wrn_46_4") == [before]


def test_settings_are_those_of_ie_kd_s_configurations():
    ie = read_recipe("iekd/cifar10/wrn_16_1_ie_ft_wrn_16_2").student
    (matcher,) = ie.matchers
    assert (matcher.inherit, matcher.explore, matcher.ratio, matcher.split) == (1.0, 1.0, 0.5, "natural")
    inner = matcher.matcher
    assert (inner.weight, inner.coder, inner.factors, inner.coder_epochs) == (50, "autoencoder", 32, 30)
    assert (ie.training.epochs, ie.training.batch_size, ie.schedule.milestones) == (160, 128, (80, 120))
    assert (ie.optimiser.lr, ie.optimiser.nesterov, ie.optimiser.weight_decay) == (0.1, True, 5e-4)
    assert ie.data.views[0].fill == "reflect"
    kd = read_recipe("iekd/cifar10/resnet20_kd_resnet56").student
    assert (kd.method.alpha, kd.method.temperature, kd.model) == (0.95, 20, ModelSpec("resnet20", {"shortcut": "conv"}))
    dml = read_recipe("iekd/cifar10/resnet20_ie_dml_resnet56").student
    assert (dml.method.updates, dml.matchers[0].between) == ("alternating", "peers")
    assert (dml.training.epochs, dml.training.batch_size, dml.schedule.milestones) == (200, 64, (60, 120, 180))


def test_settings_are_those_of_repdistiller_and_of_od_s_code():
    ft = read_recipe("iekd/repdistiller/shufflenet_v2_ft_resnet32x4")
    (matcher,) = ft.student.matchers
    assert (matcher.weight, matcher.factor, matcher.batch_norm, matcher.coder_error) == (200, "collapsed", True, 2)
    assert (matcher.coder, matcher.coder_epochs, matcher.coder_lr) == ("paraphraser", 30, 0.01)
    assert (ft.student.optimiser.lr, ft.stages["teacher"].optimiser.lr) == (0.01, 0.05)
    assert (ft.student.training.epochs, ft.student.training.batch_size) == (240, 64)
    od = read_recipe("iekd/overhaul/resnet56_od_wrn_28_4").student
    assert (od.matchers[0].weight, od.matchers[0].batch_statistics) == (1e-3, True)
    assert (od.training.epochs, od.schedule.milestones, od.optimiser.nesterov) == (200, (100, 150), True)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("cifar10/resnet20_tfkd_self", 7.41),
        ("cifar10/resnet20_ie_ft_resnet56", 6.37),
        ("cifar10/resnet20_ie_od_wrn_40_1", 6.39),
        ("cifar10/vgg13_ie_at_wrn_46_4", 4.55),
        ("cifar10/wrn_16_1_fitnet_wrn_16_2", 8.19),
        ("repdistiller/wrn_40_1_at_wrn_40_2", 100 - 72.77),
        ("repdistiller/resnet20_fitnet_resnet110", 100 - 68.99),
        ("repdistiller/shufflenet_v2_kd_resnet32x4", 100 - 74.45),
        ("overhaul/wrn_16_2_od_wrn_28_4", 24.08),
        ("imagenet/resnet18_at_resnet34", 29.3),
        ("imagenet/resnet18_ft_resnet34", 28.57),
    ],
)
def test_references_are_the_published_numbers(name, error):
    assert recipe_tree(f"iekd/{name}")["reference"]["error"] == pytest.approx(error, abs=1e-9)


def test_what_has_no_known_number_has_no_reference():
    unknown = [
        name
        for name in recipe_names()
        if name.startswith("iekd/") and "error" not in recipe_tree(name).get("reference", {})
    ]
    assert len(unknown) == 26 + 12 + 8
    assert all("reference" not in recipe_tree(name) for name in unknown)
