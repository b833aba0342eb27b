"""Losses of detectors: torchvision's own, and sums over pictures however a batch is cut."""

import pytest
import torch
from detecting import CLASSES, CLASSIFYING, KINDS, batch_of, built, cut, exactly, objective_of, pictures
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD

from limbeck.core import Clock
from limbeck.models.faster_rcnn import _Drawn

PLAIN = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
NAMES = {
    "faster_rcnn": {
        "label": "loss_classifier",
        "loss_boxes": "loss_box_reg",
        "loss_objectness": "loss_objectness",
        "loss_proposals": "loss_rpn_box_reg",
    },
    "ssdlite": {"label": "classification", "loss_boxes": "bbox_regression"},
    "retinanet": {"loss_classes": "classification", "loss_boxes": "bbox_regression"},
}


def lost(network, view):
    """Every loss by name, summed over the pictures."""
    step = objective_of([network])(batch_of(view), Clock(0, 1))
    return step, {name: float(value) for name, value in step.parts.items()}


class Given(nn.Module):
    """A body and what makes maps of it, as torchvision wants its backbone."""

    def __init__(self, network, channels):
        super().__init__()
        self.network, self.out_channels = network, channels

    def forward(self, images):
        return self.network.pyramid(images)


def theirs(kind, network, words):
    """torchvision's detector of the same weights, anchors and draws."""
    if kind == "ssdlite":
        backbone = Given(network, 0)
        own = network.ssd
        return SSD(backbone, own.anchor_generator, (64, 64), CLASSES, head=own.head, **PLAIN)
    if kind == "retinanet":
        own = network.retina
        return RetinaNet(
            Given(network, 32), CLASSES, 64, 64, anchor_generator=own.anchor_generator, head=own.head, **PLAIN
        )
    rpn, heads = network.rpn, network.roi_heads
    model = FasterRCNN(
        Given(network, 8),
        None,
        64,
        64,
        rpn_anchor_generator=rpn.anchor_generator,
        rpn_head=rpn.head,
        box_roi_pool=heads.box_roi_pool,
        box_head=heads.box_head,
        box_predictor=heads.box_predictor,
        **PLAIN,
    )
    for part, drawn in ((model.rpn, _Drawn(256, 0.5, 1)), (model.roi_heads, _Drawn(16, 0.25, 2))):
        drawn.begin(words)
        part.fg_bg_sampler = drawn
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_with_as_many_boxes_each_losses_are_torchvisions(kind):
    network, view = built(kind), pictures()
    step, ours = lost(network, view)
    gradients = torch.autograd.grad(step.loss, list(network.parameters()), allow_unused=True)
    model = theirs(kind, network, view.words).train()
    boxes, classes = torch.split_with_sizes(view.boxes, view.counts), torch.split_with_sizes(view.classes, view.counts)
    targets = [{"boxes": one, "labels": of} for one, of in zip(boxes, classes, strict=True)]
    found = model(list(view.images), targets)
    for name, theirs_ in NAMES[kind].items():
        assert ours[name] == pytest.approx(3 * float(found[theirs_].detach()), rel=1e-5), name
        assert ours[name] > 0
    assert set(ours) - {"label"} == set(NAMES[kind]) - {"label"}
    also = torch.autograd.grad(3 * sum(found.values()), list(network.parameters()), allow_unused=True)
    for one, other in zip(gradients, also, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("things", [(2, 1, 0), (0, 0, 2)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_add_up_to_the_batch(kind, things):
    network, view = built(kind).double(), exactly(pictures(((64, 64), (48, 64), (40, 32)), things=things))
    found = []
    for pieces in ([(0, 3)], [(0, 2), (2, 3)]):
        network.zero_grad()
        steps = [objective_of([network])(batch_of(cut(view, *piece)), Clock(0, 1)) for piece in pieces]
        for step in steps:
            step.loss.backward()
        assert sum(step.units for step in steps) == 3
        sums = [sum(float(step.parts[name]) for step in steps) for name in steps[0].parts]
        loss = sum(float(step.loss.detach()) for step in steps)
        found.append(
            (
                torch.tensor([loss, *sums], dtype=torch.float64),
                torch.cat([one.grad.flatten() for one in network.parameters()]),
            )
        )
    for whole, parts in zip(*found, strict=True):
        assert whole.isfinite().all()
        assert float((parts - whole).abs().max()) < 1e-7 * float(whole.abs().max())


@pytest.mark.parametrize("kind", CLASSIFYING)
def test_what_is_chosen_of_a_picture_does_not_depend_on_the_others(kind):
    network, view = built(kind), pictures(((64, 64), (48, 64), (40, 32)))
    torch.manual_seed(1)
    together = network(view).beside
    alone = []
    for i in range(3):
        torch.manual_seed(50 + i)
        alone.append(network(cut(view, i, i + 1)).beside)
    assert together["counts"].tolist() == [int(one["counts"]) for one in alone]
    torch.testing.assert_close(together["weight"], torch.cat([one["weight"] for one in alone]))
    assert torch.equal(together["labels"], torch.cat([one["labels"] for one in alone]))
    if kind == "faster_rcnn":
        torch.testing.assert_close(together["boxes"], torch.cat([one["boxes"] for one in alone]))


def test_a_pictures_word_draws_its_boxes():
    network, view = built("faster_rcnn"), pictures()
    first, again = network(view).beside["boxes"], network(view).beside["boxes"]
    assert torch.equal(first, again)
    other = network(view._replace(words=(101, 7, 103))).beside["boxes"]
    same = [torch.equal(*one) for one in zip(first.split(16), other.split(16), strict=True)]
    assert same == [True, False, True]


def test_draws_take_so_many_things_at_most_and_fill_up_with_others():
    labels = [torch.tensor([1, 1, 2, 1, 0, 0, 0, 0, 0, 0, -1, -1]), torch.tensor([0, 0, 3, -1]), torch.tensor([-1, 0])]
    drawn = _Drawn(6, 0.5, 1)
    drawn.begin((5, -(2**63), 2**63 - 1))
    things, others = drawn(labels)
    assert [int(one.sum()) for one in things] == [3, 1, 0]
    assert [int(one.sum()) for one in others] == [3, 2, 1]
    for label, thing, other in zip(labels, things, others, strict=True):
        assert (label[thing.bool()] >= 1).all()
        assert (label[other.bool()] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_without_things_cost_something_finite(kind):
    network, view = built(kind), pictures(things=(0, 0, 0))
    step, ours = lost(network, view)
    step.loss.backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in network.parameters())
    assert torch.isfinite(torch.tensor(list(ours.values()))).all()
    # nothing is to be found where nothing is
    assert ours["loss_boxes"] == 0
    assert float(step.loss.detach()) > 0
    if kind in CLASSIFYING:
        assert int(step.students[0].labels.max()) == 0
        assert float(step.students[0].weight.sum()) == pytest.approx(3 if kind == "faster_rcnn" else 9)


def test_a_picture_without_proposals_costs_nothing_for_its_boxes():
    network, view = built("faster_rcnn"), pictures(things=(2, 0, 2))
    real = network.rpn.filter_proposals

    def without(*arguments):
        boxes, scores = real(*arguments)
        return [boxes[0], boxes[1][:0], boxes[2]], scores

    network.rpn.filter_proposals = without
    step, ours = lost(network, view)
    assert step.students[0].ids.unique().tolist() == [0, 2]
    assert all(torch.isfinite(torch.tensor(list(ours.values()))))
    step.loss.backward()
