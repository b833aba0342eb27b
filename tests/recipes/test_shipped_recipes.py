"""Every shipped recipe, at every scale: it is read, checked, and its networks are built (without their weights)."""

import itertools

import pytest

from limbeck.core.config import fields_of
from limbeck.data.boxes.load import BoxData
from limbeck.models import parameters, task_of
from limbeck.models.table import backbone_of
from limbeck.recipes import read_recipe, recipe_names, recipe_tree
from limbeck.recipes.parse import parse
from limbeck.recipes.read import plan
from limbeck.recipes.scale import SCALES
from limbeck.recipes.scale_boxes import BOX_SCALES
from limbeck.recipes.scale_text import TEXT_SCALES
from limbeck.recipes.shipped import recipe_tables, recipe_text
from limbeck.teachers.relation import outline

ROWS = {
    "cifar100": 15, "claims/cifar100": 37, "detection/bccd": 5, "detection/coco": 2, "detection/voc": 10,
    "detection/voc_taught_backbone": 4, "detection/voc_taught_detector": 4,
    "digits": 9, "fashion_mnist": 15, "eskd/cifar10_bars": 44,
    "eskd/cifar10_depth": 25, "eskd/cifar10_sequences": 8, "eskd/cifar10_short": 40, "eskd/cifar10_width": 12,
    "eskd/cifar100": 11, "eskd/fashion_mnist": 11, "eskd/imagenet": 10, "iekd/cifar10": 62, "iekd/cifar100": 26,
    "iekd/imagenet": 5, "iekd/overhaul": 9, "iekd/repdistiller": 38, "kd/cifar100": 3, "kdcl/cifar100": 24,
    "kdcl/fashion_mnist": 9, "kdcl/imagenet": 30, "pskd/cifar100": 31, "pskd/imagenet": 7,
    "tfkd/cifar10": 11, "tfkd/cifar100": 49, "tfkd/imagenet": 9, "tfkd/tiny_imagenet": 16,
    "translation/iwslt": 10, "translation/multi30k": 15,
}  # fmt: skip
FIGURES = ("error", "top5_error", "nll", "ece", "aurc")


@pytest.fixture(scope="module")
def built():
    """Return a function that builds a network without its weights, each once."""
    known = {}

    def build(model):
        if repr(model) not in known:
            known[repr(model)] = outline(model)
        return known[repr(model)]

    return build


@pytest.fixture(scope="module")
def plans(built):
    """Every recipe's plan by scale and name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.teachers.plan.outline", built)
        return {
            scale: {name: read_recipe(name, [f"scale={scale}"]) for name in recipe_names()}
            for scale in [*SCALES, "paper"]
        }


@pytest.fixture(scope="module")
def size(built):
    """Return a function that counts a network's parameters."""
    return lambda model: parameters(built(model))


def test_there_are_616_recipes_in_34_tables(plans):
    assert {table: len(rows) for table, rows in recipe_tables().items()} == ROWS
    assert [len(by_name) for by_name in plans.values()] == [616, 616, 616]


@pytest.mark.parametrize("scale", SCALES)
def test_networks_keep_their_order_and_none_grows(plans, size, scale):
    for name, paper in plans["paper"].items():
        models = [(stage.model, plans[scale][name].stages[key].model) for key, stage in paper.stages.items()]
        for (large, small), (other_large, other_small) in itertools.product(models, repeat=2):
            if task_of(large) == task_of(other_large):
                assert (size(large) < size(other_large)) == (size(small) < size(other_small)), name
        assert all(0 < size(small) <= size(large) for large, small in models)


@pytest.mark.parametrize("scale", [*SCALES, "paper"])
def test_a_detector_stands_on_what_its_classifier_has_become(plans, scale):
    for name, by_name in plans[scale].items():
        for stage in by_name.stages.values():
            if stage.backbone is not None:
                assert backbone_of(stage.model) == by_name.stages[stage.backbone.stage].model, name


@pytest.mark.parametrize("scale", SCALES)
def test_a_scaled_recipe_is_small(plans, scale):
    limits = SCALES[scale]
    for name, by_name in plans[scale].items():
        for stage in by_name.stages.values():
            if name.startswith("translation/"):
                text = TEXT_SCALES[scale]
                assert (stage.data.examples, stage.data.tested) == (text.examples, text.tested)
                assert stage.data.tokenizer.vocabulary == text.vocabulary
                assert stage.training.epochs <= text.epochs
                assert stage.model.options in text.ladder
                continue
            if isinstance(stage.data, BoxData):
                boxes = BOX_SCALES[scale]
                assert (stage.data.examples, stage.data.tested) == (boxes.examples, boxes.tested)
                assert stage.data.shorter <= boxes.shorter
                assert stage.training.epochs <= boxes.epochs
                assert all(stage.model.options.get(key, value) == value for key, value in boxes.options.items())
                assert backbone_of(stage.model) in limits.ladder
                continue
            assert stage.model in limits.ladder or stage.model.name == "cnn"
            assert stage.data.examples <= limits.examples
            assert stage.data.validation <= limits.validation
            assert stage.training.epochs <= limits.epochs
            assert getattr(stage.data.source, "size", 0) <= limits.size
            assert all(mark < 1 for mark in getattr(stage.schedule, "milestones", ()))


def test_a_resolved_recipe_reads_back_as_itself(plans):
    # by fields: matchers are modules, which are compared by identity
    for name, found in plans["tiny"].items():
        again = plan(found.plain(list(found.stages)[-1]), name)
        assert [*map(fields_of, again.stages.values())] == [*map(fields_of, found.stages.values())], name
        assert list(again.stages) == list(found.stages)


def test_every_table_says_what_it_is():
    for table in recipe_tables():
        about = parse(recipe_text(table), table)["description"]
        assert about.endswith(".")
        assert "\n" not in about


def test_references_are_numbers_with_a_source():
    with_reference = [name for name in recipe_names() if "reference" in recipe_tree(name)]
    assert len(with_reference) == 3 + 24 + 30 + 25 + 5 + 47 + 42 + 38 + 9 + 5 + 131 + 2
    for name in with_reference:
        reference = recipe_tree(name)["reference"]
        assert isinstance(reference["source"], str)
        assert 0 < reference["ap" if name.startswith("detection/") else "error"] < 100
        peers = reference.get("peer_errors", [])
        assert all(0 < error < 100 for error in peers)
        assert len(peers) in {0, len(recipe_tree(name).get("peers", []))}
        if name.startswith("pskd/"):
            assert [key for key in reference if key != "source"] == list(FIGURES)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("pskd/cifar100/resnet18_pskd", 20.82),
        ("pskd/cifar100/pyramidnet200_label_smoothing", 17.82),
        ("pskd/imagenet/resnet152_pskd", 21.41),
        ("tfkd/cifar100/resnext29_baseline", 100 - 81.03),
        ("tfkd/cifar100/mobilenet_v2_kd_densenet121", 100 - 71.29),
        ("tfkd/cifar100/densenet121_rekd_shufflenet_v2", 100 - 79.83),
        ("tfkd/cifar100/resnet18_dekd_resnext29", 100 - 77.28),
        ("tfkd/cifar100/googlenet_tfkd_self", 100 - 80.17),
        ("tfkd/cifar100/resnet18_tfkd_reg", 100 - 77.36),
        ("eskd/cifar10_depth/wrn_16_1_kd_wrn_100_1", 8.484),
        ("eskd/cifar10_depth/dn_40_48_baseline", 4.667),
        ("eskd/cifar10_short/wrn_28_1_kd_wrn_28_8_65", 6.78),
        ("eskd/cifar10_bars/dn_40_12_kd_wrn_154_1_short", 7.17),
        ("eskd/imagenet/resnet18_eskd_resnet50", 29.35),
        ("tfkd/cifar100/shufflenet_v2_label_smoothing", 100 - 70.83),
    ],
)
def test_references_are_the_papers(name, error):
    assert recipe_tree(name)["reference"]["error"] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "accuracies"),
    [
        ("cifar100/dml", (73.3, 74.8)),
        ("cifar100/kdcl_naive_shared_views", (73.7, 74.8)),
        ("cifar100/kdcl_linear", (73.6, 74.9)),
        ("cifar100/kdcl_minlogit", (73.5, 74.6)),
        ("cifar100/kdcl_general", (74.3, 75.5)),
        ("cifar100/kdcl_general_weight_2", (74.7, 76.1)),
        ("cifar100/kdcl_cutout", (74.6, 75.8)),
        ("imagenet/resnet50_resnet18_kdcl_general", (77.1, 72.0)),
        ("imagenet/resnet18_mobilenet_v2_half_kdcl_minlogit", (71.9, 65.6)),
        ("imagenet/resnet50_resnet18_short_kdcl_linear", (76.8, 72.0)),
        ("imagenet/four_students_kdcl", (78.2, 73.5, 74.0, 66.9)),
    ],
)
def test_references_of_pairs_are_the_paper_s(name, accuracies):
    reference = recipe_tree(f"kdcl/{name}")["reference"]
    assert [reference["error"], *reference["peer_errors"]] == pytest.approx([100 - value for value in accuracies])


def test_settings_of_kdcl_are_the_paper_s(plans):
    stage = plans["paper"]["kdcl/cifar100/kdcl_general"].student
    assert [network.name for network in stage.networks] == ["resnet32", "wrn_16_2"]
    assert (stage.method.temperature, stage.method.weight, stage.method.views) == (2.0, 1.0, "own")
    assert (stage.data.held_out, stage.data.validation, stage.training.epochs) == (5000, 0, 200)
    assert (stage.schedule.milestones, stage.optimiser.weight_decay) == ((100, 150), 5e-4)
    small = plans["small"]["kdcl/cifar100/kdcl_general"].student
    assert [network.name for network in small.networks] == ["resnet8", "resnet14"]
    assert (small.data.held_out, small.data.examples) == (500, 1000)
    alone = [plans["small"][f"kdcl/cifar100/{name}_baseline"].student.model.name for name in ("resnet32", "wrn_16_2")]
    assert alone == ["resnet8", "resnet14"]
    assert plans["tiny"]["kdcl/cifar100/one"].student.method.split == "layer2"


# The configurations of Tf-KD's repository: α, T, multiplier, and what they make of the weights of label and teacher.
SHIPPED = {
    "mobilenet_v2_kd_resnet18": (0.95, 20, 1, 0.05, 0.0095),
    "shufflenet_v2_kd_densenet121": (0.95, 20, 1, 0.05, 0.0095),
    "resnet18_kd_resnet50": (0.6, 20, 1, 0.4, 0.006),
    "resnet18_kd_resnext29": (0.6, 20, 1, 0.4, 0.006),
    "resnet18_rekd_mobilenet_v2": (0.6, 20, 1, 0.4, 0.006),
    "resnet50_rekd_shufflenet_v2": (0.6, 20, 1, 0.4, 0.006),
    "densenet121_rekd_shufflenet_v2": (0.6, 20, 1, 0.4, 0.006),
    "resnext29_rekd_resnet18": (0.6, 20, 1, 0.4, 0.006),
    "mobilenet_v2_dekd_resnet50": (0.95, 20, 1, 0.05, 0.0095),
    "resnet18_dekd_resnext29": (0.6, 20, 1, 0.4, 0.006),
    "mobilenet_v2_tfkd_self": (0.95, 20, 1, 0.05, 0.0095),
    "shufflenet_v2_tfkd_self": (0.95, 20, 1, 0.05, 0.0095),
    "resnet18_tfkd_self": (0.95, 6, 50, 0.05, 0.475),
    "resnext29_tfkd_self": (0.9, 20, 100, 0.1, 0.9),
    "densenet121_tfkd_self": (0.9, 20, 50, 0.1, 0.45),
    "googlenet_tfkd_self": (0.4, 20, 50, 0.6, 0.2),
    "mobilenet_v2_tfkd_reg": (0.95, 40, 1, 0.05, 0.0095),
    "shufflenet_v2_tfkd_reg": (0.95, 10, 1, 0.05, 0.0095),
    "resnet18_tfkd_reg": (0.1, 20, 100, 0.9, 0.1),
    "googlenet_tfkd_reg": (0.1, 40, 50, 0.9, 0.05),
}


@pytest.mark.parametrize("scale", [*SCALES, "paper"])
def test_the_weights_of_the_losses_are_those_of_the_authors_configurations_at_every_scale(plans, scale):
    for name, (alpha, temperature, multiplier, label, teacher) in SHIPPED.items():
        stage = plans[scale][f"tfkd/cifar100/{name}"].student
        method, classes = stage.method, stage.data.classes or 100
        assert (method.alpha, method.temperature) == (alpha, temperature), name
        assert (getattr(method, "reading", "code"), getattr(method, "reduction", "mean")) == ("code", "mean"), name
        assert method.multiplier == pytest.approx(multiplier * classes / 100), name
        assert (1 - alpha, alpha * method.multiplier / classes) == pytest.approx((label, teacher)), name


def test_settings_are_those_of_the_authors_configurations(plans):
    paper = {
        name.removeprefix("tfkd/cifar100/"): found
        for name, found in plans["paper"].items()
        if name.startswith("tfkd/cifar100/")
    }
    for found in paper.values():
        for stage in found.stages.values():
            assert stage.optimiser.lr == pytest.approx(0.1 * stage.training.batch_size / 128)
    batches = {
        "mobilenet_v2_kd_resnet50": 128, "mobilenet_v2_kd_resnext29": 64, "resnet18_kd_resnet50": 64,
        "densenet121_rekd_shufflenet_v2": 100, "densenet121_rekd_mobilenet_v2": 128, "resnext29_rekd_resnet18": 64,
        "densenet121_tfkd_self": 100, "googlenet_tfkd_reg": 64,
    }  # fmt: skip
    assert {name: paper[name].student.training.batch_size for name in batches} == batches
    poor = paper["mobilenet_v2_dekd_resnext29"].stages["teacher"]
    good = paper["mobilenet_v2_kd_resnext29"].stages["teacher"]
    assert (poor.training.stop_epoch, good.training.stop_epoch) == (51, None)
    assert (poor.training.batch_size, poor.optimiser) == (good.training.batch_size, good.optimiser)
    assert good == paper["resnext29_baseline"].student


@pytest.mark.parametrize("scale", [*SCALES, "paper"])
@pytest.mark.parametrize("table", ["fashion_mnist", "cifar100"])
def test_rows_of_our_comparison_share_their_teachers(plans, table, scale):
    rows = {
        name.removeprefix(f"{table}/"): found for name, found in plans[scale].items() if name.startswith(f"{table}/")
    }
    baseline, large = rows["baseline"].student, rows["large"].student
    for name, teacher in (("tfkd_self", baseline), ("rekd", baseline), ("kd", large)):
        assert list(rows[name].stages) == ["teacher", "student"]
        assert fields_of(rows[name].stages["teacher"]) == fields_of(teacher)
    assert rows["rekd"].student.model == large.model != baseline.model
    poor = rows["dekd"].stages["teacher"]
    assert poor.training.stop_epoch == max(1, round(0.05 * poor.training.epochs))
    assert {repr(found.student.model) for name, found in rows.items() if name not in {"large", "rekd"}} == {
        repr(baseline.model)
    }


def test_our_comparison_is_the_same_in_both_tables_and_small_unless_told():
    assert recipe_tables()["fashion_mnist"] == recipe_tables()["cifar100"]
    for table in ("fashion_mnist", "cifar100"):
        assert read_recipe(f"{table}/pskd") == read_recipe(f"{table}/pskd", ["scale=small"])


def test_teachers_of_eskd_have_short_schedules_of_their_own(plans):
    """A short schedule is complete, at every scale: its drops are at the same shares of it."""
    paper, small = (plans[scale]["eskd/cifar10_short/wrn_16_1_kd_wrn_16_8_50"].stages for scale in ("paper", "small"))
    assert (paper["teacher"].training.epochs, paper["student"].training.epochs) == (50, 200)
    assert paper["teacher"].schedule.milestones == (15, 30, 40)
    assert (small["teacher"].training.epochs, small["student"].training.epochs) == (15, 60)
    assert small["teacher"].schedule.milestones == pytest.approx((0.3, 0.6, 0.8))
    assert plans["small"]["eskd/cifar100/kd_checkpoint"].student.teacher.which == "epoch-15"
    assert plans["small"]["eskd/cifar100/eskd"].student.method.stop.epoch == 18
    assert plans["small"]["eskd/imagenet/resnet18_eskd_resnet34"].student.method.stop.epoch == 18
