"""Detectors: what they find, what they read, and what cannot be built."""

import copy

import pytest
import torch
from detecting import CLASSES, KINDS, built, cut, exactly, pictures
from torch import nn

from limbeck.core import LimbeckError
from limbeck.models import ModelSpec, build_model, check_model
from limbeck.models.faster_rcnn import FasterRCNNDetector, _Levels
from limbeck.models.stages import Body
from limbeck.models.table import untrained
from limbeck.teachers.relation import outline


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found_lies_in_its_picture_best_first(kind):
    network, view = built(kind).eval(), pictures(((64, 64), (48, 64), (40, 32)))
    with torch.no_grad():
        found = network(view)
    assert found.logits.shape == (0, CLASSES)
    boxes, scores, classes, of = (found.beside[name] for name in ("boxes", "scores", "classes", "pictures"))
    assert len(boxes) == len(scores) == len(classes) == len(of) > 0
    assert torch.equal(of, of.sort().values)
    for i, (height, width) in enumerate(view.sizes):
        mine = boxes[of == i]
        assert len(mine)
        assert (mine >= 0).all()
        assert (mine <= torch.tensor([width, height, width, height])).all()
        assert (scores[of == i].diff() <= 0).all()
    assert int(classes.max()) < CLASSES
    # RetinaNet has a score for class 0 too, which nothing is
    assert int(classes.min()) >= (0 if kind == "retinanet" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found_in_a_picture_does_not_depend_on_its_neighbours(kind):
    network, view = built(kind).double().eval(), exactly(pictures(((64, 64), (48, 64), (40, 32))))
    with torch.no_grad():
        together = network(view).beside
        for i in range(3):
            alone = network(cut(view, i, i + 1)).beside
            mine = together["pictures"] == i
            for name in ("boxes", "scores"):
                torch.testing.assert_close(together[name][mine], alone[name], rtol=1e-4, atol=1e-3)
            assert torch.equal(together["classes"][mine], alone["classes"])


@pytest.mark.parametrize("kind", ["faster_rcnn", "retinanet"])
def test_a_larger_canvas_changes_maps_near_the_border_alone(kind):
    """Nearer they do change: what is beside a picture is 0, and layers with a bias make something of it."""
    network = built(kind).eval()
    small, large = (pictures(((64, 64),), canvas) for canvas in (None, (128, 192)))
    with torch.no_grad():
        maps = [network.pyramid(view.images) for view in (small, large)]
    for (path, one), other in zip(maps[0].items(), maps[1].values(), strict=True):
        if path not in ("layer1", "layer2"):
            continue  # smaller than what a layer sees
        inner = slice(0, one.shape[2] - 8)
        torch.testing.assert_close(other[..., inner, inner], one[..., inner, inner], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(other[..., : one.shape[2], : one.shape[3]], one, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_images_alone_are_pictures_that_fill_their_canvas(kind):
    network, view = built(kind).eval(), pictures()
    with torch.no_grad():
        found, alone = network(view), network(view.images)
    assert all(torch.equal(value, alone.beside[name]) for name, value in found.beside.items())


@pytest.mark.parametrize("kind", KINDS)
def test_only_pictures_are_read(kind):
    with pytest.raises(LimbeckError, match="a detector reads pictures, not tuple: set task to detection"):
        built(kind)((torch.zeros(1, 3, 64, 64),))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_leaves_boxes_and_scores_exact(kind):
    network, view = built(kind), pictures(((288, 320),), things=(2,))
    exact = network(view)
    anchors = next(module for module in network.modules() if "Generator" in type(module).__name__)
    cells = copy.deepcopy(getattr(anchors, "cell_anchors", None))
    with torch.autocast("cpu", torch.bfloat16):
        half = network(view)
        told = network.eval()(view)
    assert half.logits.dtype == told.beside["boxes"].dtype == told.beside["scores"].dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in half.beside.values() if value.is_floating_point())
    for name in (name for name in exact.beside if name.startswith("loss_")):
        assert float(half.beside[name].detach()) == pytest.approx(float(exact.beside[name].detach()), rel=0.05)
    if cells is not None:
        assert all(torch.equal(*pair) for pair in zip(cells, anchors.cell_anchors, strict=True))
        assert anchors.cell_anchors[0].dtype == torch.float32


def test_boxes_are_read_from_the_map_of_their_size():
    """Of strides 4, 8 and 16: sides below 112 from the first, below 224 from the second; without the second, finer."""
    sides = torch.tensor([10.0, 111.0, 113.0, 223.0, 225.0, 3000.0])
    boxes = torch.stack([torch.zeros(6), torch.zeros(6), sides, sides], 1)
    assert _Levels([2, 3, 4])([boxes]).tolist() == [0, 0, 1, 1, 2, 2]
    assert _Levels([2, 4])([boxes]).tolist() == [0, 0, 0, 0, 1, 1]
    assert _Levels([3, 4])([boxes[:2], boxes[2:]]).tolist() == [0, 0, 0, 0, 1, 1]


class Sudden(nn.Module):
    """A network that makes its map a fourth as large at once."""

    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
        self.layer2 = nn.Sequential(nn.Conv2d(4, 8, 3, stride=4, padding=1), nn.Conv2d(8, 8, 3, padding=1))
        self.head = nn.Linear(8, 10)

    def forward(self, images):
        return self.head(self.layer2(self.layer1(images)).mean((2, 3)))


def test_no_box_is_read_from_a_map_that_is_not_there():
    network = FasterRCNNDetector(Sudden(), CLASSES, width=8, head=16, boxes=16)
    assert [stage.stride for stage in network.body.stages] == [1, 4]
    view = pictures()
    maps = network.pyramid(view.images)
    big = [torch.tensor([[0.0, 0.0, 64.0, 64.0], [0.0, 0.0, 40.0, 60.0]])] * 3
    read = network.roi_heads.box_roi_pool(maps, big, [(64, 64)] * 3)
    assert (read.flatten(1).abs().sum(1) > 0).all()


def test_a_body_that_is_normalised_otherwise_reads_what_it_knows_and_zeros_beside():
    class Watching(nn.Module):
        stages = ()

        def forward(self, images):
            self.seen = images
            return {}

    network, view = built("faster_rcnn").eval(), pictures(((64, 64), (40, 32)))
    network.meet(torch.tensor([2.0, 1.0, 0.5])[:, None, None], torch.tensor([0.5, -1.0, 3.0])[:, None, None])
    watching = network.body = Watching()
    before = view.images.clone()
    with pytest.raises(IndexError):
        network(view)  # without maps
    for i, (height, width) in enumerate(view.sizes):
        for channel, (scale, shift) in enumerate(((2, 0.5), (1, -1.0), (0.5, 3.0))):
            expected = scale * view.images[i, channel, :height, :width] + shift
            torch.testing.assert_close(watching.seen[i, channel, :height, :width], expected)
        assert not watching.seen[i, :, height:].any()
        assert not watching.seen[i, :, :, width:].any()
    assert torch.equal(view.images, before)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("faster_rcnn", {"backbone": None}, "needs a backbone: set model.backbone to a classifier's name"),
        ("faster_rcnn", {"backbone": {"width": 4}}, "needs a backbone: set model.backbone to a classifier's name"),
        ("faster_rcnn", {"backbone": "faster_rcnn"}, "its backbone 'faster_rcnn' is no classifier: choose one"),
        ("ssdlite", {"backbone": "transformer"}, "its backbone 'transformer' is no classifier: choose one"),
        ("retinanet", {"backbone": "cnnn"}, "model 'cnnn' is unknown; did you mean 'cnn'?"),
        ("retinanet", {"backbone": {"name": "cnn", "wdth": 4}}, "wdth"),
        ("retinanet", {"backbone": "cnn", "hed": 4}, "hed"),
        ("ssdlite", {"backbone": "cnn", "stages": 6}, "stages"),
        ("ssdlite", {"backbone": "cnn", "maps": 9}, "maps"),
        ("faster_rcnn", {"backbone": "cnn", "boxes": 0}, "boxes"),
        ("faster_rcnn", {"backbone": "cnn", "anchor": 0.0}, "anchor"),
        ("faster_rcnn", {"backbone": "cnn", "score": 1.5}, "score"),
    ],
)
def test_what_cannot_be_built_is_one_line(kind, options, said):
    given = {key: value for key, value in options.items() if value is not None}
    with pytest.raises(LimbeckError) as refused:
        check_model(ModelSpec(kind, given))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_a_network_begins_with_is_left_out_of_its_backbone_too():
    backbone = {"name": "torchvision:resnet18", "pretrained": True}
    spec = ModelSpec("faster_rcnn", {"backbone": backbone, "width": 8})
    assert untrained(spec).options == {"backbone": {"name": "torchvision:resnet18"}, "width": 8}
    assert backbone["pretrained"]
    # nothing is downloaded to count it
    assert next(outline(spec).parameters()).is_meta


def test_ssd_has_a_map_for_each_stage():
    with pytest.raises(LimbeckError, match="SSD on 3 stages has at least so many maps, not 2: raise maps"):
        built("ssdlite", stages=3, maps=2)


def test_the_head_of_the_classifier_is_left_behind():
    torch.manual_seed(0)
    classifier = build_model(ModelSpec("cnn", {"width": 4}), 10, 3)
    head = {id(weight) for weight in classifier.head.parameters()}
    body = Body(classifier, 3)
    assert head
    assert not head & {id(weight) for weight in body.parameters()}
