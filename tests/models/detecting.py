"""Tiny detectors and pictures of noise with boxes in them, and what a step of theirs costs."""

import torch
from torch import nn

from limbeck.core import Batch, Objective
from limbeck.core.batch import Pictures
from limbeck.models import ModelSpec, build_model
from limbeck.targets import CrossEntropy
from limbeck.tasks.detection import Detection

KINDS = {
    "faster_rcnn": {"stages": 2, "width": 8, "head": 16, "boxes": 16, "score": 0.0},
    "ssdlite": {"stages": 2, "maps": 4},
    "retinanet": {"stages": 2, "width": 32, "score": 0.001},
}
CLASSES = 3
CLASSIFYING = ["faster_rcnn", "ssdlite"]


def built(kind, seed=0, **options):
    """A detector in training, whose answers to a picture do not depend on the others of its batch."""
    torch.manual_seed(seed)
    spec = ModelSpec(kind, {"backbone": {"name": "cnn", "width": 4}, "frozen": True} | KINDS[kind] | options)
    network = build_model(spec, CLASSES, 3).train()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            # those of SSD's heads, by which pictures of a batch depend on each other
            norm.eval()
            norm.train = lambda mode=True: None
    for name, weight in network.named_parameters():
        if name.endswith("bias") and not name.startswith("body"):
            nn.init.normal_(weight, std=0.2)
    if kind == "retinanet":
        # away from where it starts, as good as blind
        nn.init.constant_(network.retina.head.classification_head.cls_logits.bias, -2.0)
    return network


def pictures(sizes=((64, 64),) * 3, canvas=None, seed=3, things=None):
    """Pictures of noise on a common canvas, each with two boxes if it is not said how many."""
    generator = torch.Generator().manual_seed(seed)
    height, width = canvas or tuple(max(side) for side in zip(*sizes, strict=True))
    images = torch.zeros(len(sizes), 3, height, width)
    counts = tuple(things or (2,) * len(sizes))
    for image, (tall, wide) in zip(images, sizes, strict=True):
        image[:, :tall, :wide] = torch.randn(3, tall, wide, generator=generator)
    shares = torch.tensor([[0.05, 0.1, 0.5, 0.6], [0.3, 0.35, 0.95, 0.8]])
    sides = [torch.tensor([wide, tall, wide, tall]) for tall, wide in sizes]
    boxes = torch.cat([shares[:count] * side for count, side in zip(counts, sides, strict=True)])
    classes = torch.cat([torch.tensor([1, 2])[:count] for count in counts])
    return Pictures(images, tuple(sizes), boxes, classes, counts, tuple(range(101, 101 + len(sizes))))


def cut(view, start, stop):
    """Some of the pictures."""
    first, last = sum(view.counts[:start]), sum(view.counts[:stop])
    images, sizes, boxes, classes, counts, words = view
    which = slice(start, stop)
    return Pictures(images[which], sizes[which], boxes[first:last], classes[first:last], counts[which], words[which])


def batch_of(view, ids=None):
    count = len(view.sizes)
    ids = torch.arange(count) if ids is None else ids
    return Batch(ids, (view,), torch.zeros(count, dtype=torch.int64))


def objective_of(networks, method=None, teacher=None):
    method = method or CrossEntropy()
    return Objective(method.cohort(networks), method, Detection(), teacher).train()


def exactly(view):
    """The same in float64."""
    return view._replace(images=view.images.double(), boxes=view.boxes.double())
