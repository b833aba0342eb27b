"""Two small networks and a matcher between them, for the suite of matchers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.core.batch import Batch, Clock, Output
from limbeck.core.cohort import Peers
from limbeck.core.comparison import Compared, Comparison
from limbeck.core.matcher import Matcher, Term
from limbeck.core.objective import Objective
from limbeck.targets.labels import CrossEntropy
from limbeck.tasks.classification import Classification

EXAMPLES, CLASSES, EPOCHS, SIDE = 8, 5, 3, 16
CLOCK = Clock(0, EPOCHS)


class Case:
    """A matcher of a suite at work: a student, and the teacher or the peer that it is compared with."""

    def __init__(self, matcher: Matcher, student: nn.Module, other: nn.Module, seed: int) -> None:
        peers = matcher.between == "peers"
        self.student, self.other = student, other if peers else other.eval().requires_grad_(False)
        self.modes = modes_of(other)
        students, teacher = ([student, other], None) if peers else ([student], _Teacher(other))
        self.objective = Objective(
            Peers(students), CrossEntropy(), Classification(), teacher, None, [matcher], (1, SIDE, SIDE), seed
        )
        assert self.objective.comparison is not None
        self.comparison: Comparison = self.objective.comparison
        self._teach()

    def _teach(self) -> None:
        """Give a matcher what it wants to know of the teacher first: here a coder that has not learned."""
        for link in self.comparison.links:
            with torch.random.fork_rng():
                torch.manual_seed(2)
                coding = None if link.source is not None else link.matcher.coding()
            if coding is not None:
                link.matcher.take(coding.coder.get_submodule("encoder"))
            if link.matcher.surveys:
                features = _features(self.other, [pair.teacher.path for pair in link.pairs], batch_of(0).images())
                link.matcher.settle(link.matcher.survey(features))

    def terms(self, batch: Batch | None = None) -> Mapping[str, Term]:
        """Return the terms of the student."""
        view = (batch_of(0) if batch is None else batch).views
        with self.comparison.listening():
            self.objective.cohort(view)
            if self.objective.teacher is not None:
                self.objective.teacher(view[0])
        compared: Compared = self.comparison(CLOCK)
        return compared.terms[0]

    def by_hand(
        self, change: Callable[[Tensor], Tensor] | None = None, matchers: Iterable[Any] | None = None
    ) -> Mapping[str, Term]:
        """Return the terms of features that are changed first, without gradient."""
        found: dict[str, Term] = {}
        view = batch_of(0).images()
        with torch.no_grad():
            for link, matcher in zip(self.comparison.links, matchers or self.comparison.matchers, strict=True):
                if link.student > 0:
                    continue
                sides = []
                for network, which in ((self.student, 0), (self.other, 1)):
                    features = _features(network, [pair[which].path for pair in link.pairs], view)
                    sides.append([one if change is None else change(one) for one in features])
                own, theirs = (
                    [matcher.look(one) for one in sides[0]],
                    [matcher.look_at_teacher(one) for one in sides[1]],
                )
                found |= matcher(own, theirs, CLOCK)
        return found

    def loss(self, step: int) -> Tensor:
        """Return the loss per example of a batch."""
        loss = self.objective(batch_of(step), CLOCK).loss
        assert isinstance(loss, Tensor)
        return loss / EXAMPLES

    def steps(self, count: int) -> None:
        """Step a few times."""
        optimiser = torch.optim.SGD(self.objective.parameters(), 1e-4, momentum=0.9)
        for step in range(count):
            optimiser.zero_grad()
            self.loss(step).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    def trained(self) -> Mapping[str, Any]:
        """Return all that the matcher keeps."""
        return self.comparison.matchers.state_dict()


class Net(nn.Module):
    """Three stages; the second and the third halve the size."""

    def __init__(self, width: int, pool: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.AvgPool2d(pool), *_convolution(1, width))
        self.layer1 = nn.Sequential(nn.AvgPool2d(2), *_convolution(width, 2 * width))
        self.layer2 = nn.Sequential(nn.AvgPool2d(2), *_convolution(2 * width, 4 * width))
        self.head = nn.Linear(4 * width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head(self.layer2(self.layer1(self.stem(images))).mean((2, 3)))
        return logits


def _convolution(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]


class _Teacher:
    def __init__(self, net: nn.Module) -> None:
        self.net = net

    @torch.no_grad()
    def __call__(self, view: Tensor) -> Output:
        return Output(self.net(view))


def _features(network: nn.Module, paths: Sequence[str], view: Tensor) -> list[Tensor]:
    """Return what layers put out, in float32; the network stays as it is."""
    found: dict[str, Tensor] = {}
    network = copy.deepcopy(network)
    for path in paths:
        network.get_submodule(path).register_forward_hook(lambda _, __, out, path=path: found.setdefault(path, out))
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        network(view)
    return [found[path].clone() for path in paths]


def batch_of(step: int) -> Batch:
    """Return images of noise."""
    generator = torch.Generator().manual_seed(step)
    view = torch.randn(EXAMPLES, 1, SIDE, SIDE, generator=generator)
    return Batch(torch.arange(EXAMPLES), (view,), torch.arange(EXAMPLES) % CLASSES)


def modes_of(network: nn.Module) -> list[tuple[bool, Any]]:
    """Return what says how each module of a network answers."""
    return [(module.training, getattr(module, "track_running_stats", None)) for module in network.modules()]
