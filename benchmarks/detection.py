"""What a step of a detector costs, as a ratio to torchvision's own.

Floor: forward, backward and SGD of torchvision's Faster R-CNN around the same classifier's stages, with the same
anchors, widths and numbers of boxes, on pictures that lie there. A step here is what the training loop does, on batches
that lie there and on batches that are read. The contestants take turns; each ratio is the median over rounds of
(contestant / floor of the same round). The teacher of KD is a network of the student's size.

    python benchmarks/detection.py [--rounds 5] [--steps 4] [--device cuda] [--side 160] [--backbone resnet8]
        [--batch 4] [--out FILE]
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from limbeck.core import Clock, Objective, Room
from limbeck.core.batch import Batch, Pictures
from limbeck.core.writer import TargetWriter
from limbeck.data.boxes.examples import BoxExamples
from limbeck.data.boxes.load import BoxData
from limbeck.models import ModelSpec, build_model
from limbeck.models.detector import PROPORTIONS, strides_of, targets_of
from limbeck.models.faster_rcnn import FasterRCNNDetector
from limbeck.targets import PSKD, CrossEntropy, Hinton
from limbeck.tasks import Detection
from limbeck.teachers import Teacher

WIDTH, HEAD, BOXES, STAGES = 32, 64, 64, 2
FLOOR = "floor: torchvision's Faster R-CNN"


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        examples = pictures(Path(folder), options)
        spec = {"backbone": options.backbone, "stages": STAGES, "width": WIDTH, "head": HEAD, "boxes": BOXES}
        torch.manual_seed(0)
        network = build_model(ModelSpec("faster_rcnn", spec), len(examples.classes), 3).to(options.device)
        assert isinstance(network, FasterRCNNDetector)
        batches = [one.parts[0] for one in islice(examples.epoch(0, batch_size=options.batch, seed=0), options.steps)]
        lying = {
            "labels alone": CrossEntropy(),
            "KD": Hinton(alpha=0.5, temperature=2.0),
            "PS-KD, past model": PSKD(alpha=0.5, memory="model"),
        }
        runs = {FLOOR: floor(network, batches, options)}
        runs |= {name: ours(network, cycle(batches), method, options) for name, method in lying.items()}
        runs["labels alone, pictures read"] = ours(network, endless(examples, options), CrossEntropy(), options)
        times = measured(runs, options)
        start = time.perf_counter()
        seen = sum(len(one.parts[0].ids) for one in examples.epoch(1, batch_size=options.batch, seed=0))
        speed = seen / (time.perf_counter() - start)
    rows = ["| contestant | ms a step | ratio to the floor |", "| --- | --- | --- |"]
    for name, taken in times.items():
        ratio = statistics.median(one / base for one, base in zip(taken, times[FLOOR], strict=True))
        rows.append(f"| {name} | {1000 * statistics.median(taken) / options.steps:.1f} | {ratio:.2f} |")
    about = (
        f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, {options.device}; {options.backbone}, {options.batch} pictures a step, shown "
        f"{options.side} pixels wide; reading alone, in this process: {speed:.0f} pictures a second"
    )
    text = about + "\n\n" + "\n".join(rows) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"rounds": 5, "steps": 4, "side": 160, "batch": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", default="resnet8")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def pictures(folder: Path, options: argparse.Namespace) -> BoxExamples:
    """Return pictures of 640 by 480 pixels, each with ten rectangles of three colours."""
    chance = np.random.default_rng(0)
    names = [f"picture{i}" for i in range(options.batch * options.steps)]
    for place in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / place).mkdir(parents=True)
    for name in names:
        pixels = chance.integers(90, 160, (480, 640, 3)).astype(np.uint8)
        objects = []
        for _ in range(10):
            colour, left, top = int(chance.integers(3)), int(chance.integers(1, 500)), int(chance.integers(1, 360))
            width, height = (int(side) for side in chance.integers(30, 110, 2))
            pixels[top : top + height, left : left + width] = 255 * np.eye(3, dtype=np.uint8)[colour]
            corners = {"xmin": left + 1, "ymin": top + 1, "xmax": left + width, "ymax": top + height}
            box = "".join(f"<{key}>{value}</{key}>" for key, value in corners.items())
            objects.append(f"<object><name>colour{colour}</name><bndbox>{box}</bndbox></object>")
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.jpg")
        size = "<size><width>640</width><height>480</height><depth>3</depth></size>"
        text = f"<annotation><filename>{name}.jpg</filename>{size}{''.join(objects)}</annotation>"
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    for split in ("trainval", "test"):
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
    source = {"name": "voc", "root": str(folder)}
    data = BoxData(source, shorter=options.side * 3 // 4, longer=options.side, workers=0)  # type: ignore[arg-type]
    train = data.load(options.device).train
    assert isinstance(train, BoxExamples)
    return train


class Backbone(nn.Module):
    """A detector's stages and pyramid as torchvision wants them."""

    def __init__(self, network: FasterRCNNDetector) -> None:
        super().__init__()
        self.body, self.fpn, self.out_channels = network.body, network.fpn, WIDTH

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the pyramid."""
        found: OrderedDict[str, Tensor] = self.fpn(OrderedDict(self.body(images)))
        return found


def floor(network: FasterRCNNDetector, batches: list[Batch], options: argparse.Namespace) -> Callable[[], None]:
    network = copy.deepcopy(network)
    strides = strides_of(network.body, 1)
    theirs = FasterRCNN(
        Backbone(network),
        min_size=options.side * 3 // 4,
        max_size=options.side,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        rpn_anchor_generator=AnchorGenerator(tuple((8 * one,) for one in strides), (PROPORTIONS,) * len(strides)),
        box_roi_pool=MultiScaleRoIAlign([one.path for one in network.body.stages], 7, 2),
        box_head=TwoMLPHead(WIDTH * 49, HEAD),
        box_predictor=FastRCNNPredictor(HEAD, network.classes),
        box_batch_size_per_image=BOXES,
    ).to(options.device)
    optimiser = torch.optim.SGD(theirs.parameters(), lr=1e-3, momentum=0.9)
    lying = []
    for batch in batches:
        view = batch.views[0]
        assert isinstance(view, Pictures)
        images = [image[:, :height, :width] for image, (height, width) in zip(view.images, view.sizes, strict=True)]
        lying.append((images, targets_of(view)))
    turns = cycle(lying)

    def run() -> None:
        for images, targets in islice(turns, options.steps):
            sum(theirs(images, targets).values()).backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return run


def endless(examples: BoxExamples, options: argparse.Namespace) -> Iterator[Batch]:
    epoch = 0
    while True:
        for one in examples.epoch(epoch, batch_size=options.batch, seed=0):
            yield one.parts[0]
        epoch += 1


def ours(
    network: FasterRCNNDetector, batches: Iterator[Batch], method: TargetWriter, options: argparse.Namespace
) -> Callable[[], None]:
    teacher = Teacher(copy.deepcopy(network)) if method.needs.teacher else None
    objective = Objective(method.cohort([copy.deepcopy(network)]), method, Detection(), teacher, Room(0))
    objective.after_epoch()
    optimiser = torch.optim.SGD(objective.parameters(), lr=1e-3, momentum=0.9)

    def run() -> None:
        for batch in islice(batches, options.steps):
            step = objective(batch, Clock(1, 10**6))
            assert step.loss is not None
            (step.loss / options.batch).backward()
            objective.after(step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return run


def measured(runs: dict[str, Callable[[], None]], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds + 1):  # the first is to warm up
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if options.device == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
