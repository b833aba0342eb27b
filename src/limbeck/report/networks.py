"""The networks of finished runs and the test images that they are looked at with, for pictures of what is inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from limbeck.core.layers import Layers, layer_at, probe, stage_ends
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.matching.ie import natural_split
from limbeck.recipes.rerun import test_examples
from limbeck.report.compare import FinishedRun
from limbeck.report.split import split_of
from limbeck.report.students import check_same_test, label_of, path_of, read_student, read_students, tested_on
from limbeck.tasks.classification import ENSEMBLE
from limbeck.teachers.teacher import Inputs, Teacher, TeacherChoice, load_teacher
from limbeck.train.runtime import Runtime

# of the images that are drawn where not all are looked at: the same in every command
_SEED = 0


class Network(NamedTuple):
    """A student with its last weights, in eval mode.

    Attributes:
        student: of which run.
        path: RUN, or RUN/student-1.
        label: its name in pictures.
        teacher: the network, frozen, with how it reads images.
        layers: of the network.
    """

    student: FinishedRun
    path: str
    label: str
    teacher: Teacher
    layers: Layers

    @property
    def net(self) -> nn.Module:
        """The network itself."""
        return self.teacher.net


class Images(NamedTuple):
    """Test images, normalised as the first run's recipe says.

    Attributes:
        views: on the device of the networks.
        labels: their classes.
    """

    views: Float[Tensor, "images channels height width"]
    labels: Int[Tensor, " images"]

    def batches(self, size: int) -> Iterator[Images]:
        """Iterate over them in order."""
        for start in range(0, len(self.views), size):
            yield self.batch(start, size)

    def batch(self, start: int, size: int) -> Images:
        """Return so many from there on, or as many as are left."""
        return Images(self.views[start : start + size], self.labels[start : start + size])


class Halves(NamedTuple):
    """Two parts of a layer's channels.

    Attributes:
        layer: which one.
        names: what pictures call the parts.
        channels: indices of each part; one that has none is empty.
    """

    layer: str
    names: tuple[str, str]
    channels: tuple[Int64[Tensor, " first"], Int64[Tensor, " second"]]


def chosen(path: Path) -> list[FinishedRun]:
    """Return the students of RUN without their ensemble, or the one that RUN/student-1 names.

    Raises:
        LimbeckError: no finished run, no student of that name, or an ensemble, which has no layers.
    """
    if path.is_dir() or not (path.parent / "results.json").exists():
        return [one for one in read_students(path) if one.student != ENSEMBLE]
    one = read_student(path)
    if one.student == ENSEMBLE:
        raise LimbeckError(f"{path} has no layers of its own: name its students")
    return [one]


def load_networks(
    students: Sequence[FinishedRun], overrides: Sequence[str], count: int, accelerator: str
) -> tuple[list[Network], Images]:
    """Return the networks on the device, and the same test images for all.

    Args:
        students: tested on the same images, which are those of the first one's recipe.
        overrides: `data.key=value`, where the first run's data have moved.
        count: at most so many images; of more, some are drawn, the same ones at every call.
        accelerator: where to run.

    Raises:
        LimbeckError: weights missing or damaged, different test sets; the images are others now.
    """
    check_same_test(students)
    device = Runtime(accelerator, devices=1, nodes=1).device
    test = test_examples(students[0].folder, overrides, device)
    if test.fingerprint != tested_on(students[0]):
        raise LimbeckError(
            f"the test images of {students[0].folder} are not those that it was tested on: give data.source.root=..."
        )
    inputs = Inputs(test.classes, test.shape[0], test.mean, test.std)
    networks = []
    for student in students:
        number = student.student.removeprefix("student").removeprefix("-")
        choice = TeacherChoice(run=str(student.folder), student=int(number) if number else None)
        teacher = load_teacher(choice, inputs).meet(inputs, device)
        layers = probe(teacher.net, test.shape)
        networks.append(Network(student, path_of(student), label_of(student), teacher, layers))
    return networks, _images(test, count)


def halves_of(network: Network, layer: str | None = None) -> Halves | None:
    """Return the two parts of a layer's channels: those of the run's split, or the first and the second half.

    Args:
        network: whose layer.
        layer: which one; without it that of the split, or the end of the last stage where the run has none.

    Returns:
        None for a network without stages, as it puts out no maps.

    Raises:
        LimbeckError: there is no such layer, it puts out no map, or the split does not fit the network.
    """
    split = split_of(network.student.folder, network.student.student)
    if split is not None and layer in {None, split[0]}:
        path, inherit, explore = split
        found = layer_at(network.layers, path, network.path)
        if torch.cat([inherit, explore]).sort().values.tolist() != list(range(found.shape[0])):
            raise LimbeckError(f"the split of {network.path} is not one of the {found.shape[0]} channels of {path}")
        return Halves(path, ("inheriting", "exploring"), (inherit, explore))
    if layer is None:
        ends = stage_ends(network.layers)
        if not ends:
            return None
        layer = ends[-1].path
    channels = layer_at(network.layers, layer, network.path).shape[0]
    first, second = natural_split(channels)
    return Halves(layer, ("first half", "second half"), (first, second))


def _images(test: Examples, count: int) -> Images:
    """Return test images by ascending id, all or drawn from all: they may lie sorted by class."""
    order = np.random.default_rng(_SEED).permutation(test.count)
    wanted = torch.from_numpy(np.sort(order[:count]))
    views, labels, start = [], [], 0
    for batch in test.in_order(500):
        here = wanted[(wanted >= start) & (wanted < start + len(batch.ids))] - start
        rows = here.to(batch.labels.device)
        views.append(batch.images()[rows])
        labels.append(batch.labels[rows])
        start += len(batch.ids)
    return Images(torch.cat(views), torch.cat(labels))
