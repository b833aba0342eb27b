"""What every target writer must do. Runs under pytest, needs nothing else.

class TestMyWriter(TargetWriterSuite):
def make(self):
return MyWriter(alpha=0.5)
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from pathlib import Path

import torch
from torch import nn

from limbeck.core.batch import Batch, Clock, Mix, Output, View
from limbeck.core.objective import Objective
from limbeck.core.writer import Room, Step, TargetWriter
from limbeck.tasks.classification import Classification

EXAMPLES, CLASSES, EPOCHS = 12, 5, 3


class TargetWriterSuite:
    """Checks of one target writer; subclass it and override `make`."""

    _folder: Path | None = None

    def make(self) -> TargetWriter:
        """Return a new writer of the kind under test."""
        raise NotImplementedError

    def test_targets_are_distributions_without_gradient(self) -> None:
        """Probabilities are not negative, sum to 1, and carry no gradient; weights are not negative."""
        for step, objective in self._epochs():
            lessons = objective.writer.write(step)
            assert len(lessons) == len(step.students)
            for targets in lessons:
                assert targets
                for target in targets:
                    assert target.weight >= 0
                    assert target.temperature > 0
                    if target.probabilities is not None:
                        assert not target.probabilities.requires_grad
                        assert (target.probabilities >= 0).all()
                        sums = target.probabilities.sum(1)
                        assert torch.allclose(sums, torch.ones_like(sums), atol=1e-5)

    def test_writing_is_pure(self) -> None:
        """Writing twice gives the same targets, and moves no state."""
        for step, objective in self._epochs():
            before = copy.deepcopy(objective.writer.state_dict())
            first, second = objective.writer.write(step), objective.writer.write(step)
            assert _same(before, objective.writer.state_dict())
            for one, other in zip(first, second, strict=True):
                for a, b in zip(one, other, strict=True):
                    assert (a.name, a.weight, a.temperature) == (b.name, b.weight, b.temperature)
                    assert a.probabilities is b.probabilities or torch.equal(_dense(a), _dense(b))

    def test_a_restored_writer_goes_on_alike(self) -> None:
        """After `load_state_dict` a new writer gives the loss that the old one gives."""
        steps = list(self._epochs())
        step, objective = steps[-1]
        twin = self._objective(len(steps) - 1)
        twin.cohort.load_state_dict(objective.cohort.state_dict())
        twin.writer.load_state_dict(copy.deepcopy(objective.writer.state_dict()))
        ours, theirs = objective(step.batch, step.clock).loss, twin(step.batch, step.clock).loss
        assert torch.equal(ours, theirs)

    def test_the_loss_trains_the_student(self) -> None:
        """Twenty gradient steps on one batch lower the loss."""
        objective = self._objective()
        optimiser = torch.optim.SGD(objective.parameters(), lr=0.05)
        losses = []
        for _ in range(20):
            loss = objective(_batch(), Clock(0, EPOCHS)).loss / EXAMPLES
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]

    def test_mixed_images_are_served(self) -> None:
        """CutMix and Mixup batches give a finite loss with a gradient."""
        objective = self._objective()
        batch = _batch()
        turned = torch.arange(EXAMPLES).roll(1)
        mix = Mix(batch.ids[turned], batch.labels[turned], torch.linspace(0, 1, EXAMPLES))
        for epoch in range(2):
            step = objective(batch._replace(mix=mix), Clock(epoch, EPOCHS))
            step.loss.backward()
            assert step.loss.isfinite()
            objective.after(step)
            objective.after_epoch()

    def _objective(self, number: int = 0) -> Objective:
        torch.manual_seed(1)
        teacher = _student().requires_grad_(False)
        writer = self.make()
        students = [_student() for _ in range(max(writer.needs.copies, writer.needs.students))]
        taught = _Teacher(teacher) if writer.needs.teacher else None
        room = Room(EXAMPLES, folder=self._place() / str(number))
        return Objective(writer.cohort(students), writer, Classification(), taught, room)

    def _place(self) -> Path:
        """Return a folder for writers that keep files; it goes when the suite does."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp())
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _epochs(self) -> list[tuple[Step, Objective]]:
        """Return a step and its objective after none, one and two epochs of remembering."""
        found = []
        for done in range(EPOCHS):
            objective = self._objective(done)
            for epoch in range(done):
                objective.after(objective(_batch(), Clock(epoch, EPOCHS)))
                objective.after_epoch()
            found.append((objective(_batch(), Clock(done, EPOCHS)), objective))
        return found


class _Teacher:
    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, view: View, like: Output | None = None) -> Output:
        return Output(self.network(view))


def _student() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(EXAMPLES) % CLASSES
    views, siblings = torch.randn(2, EXAMPLES, 1, 4, 4, generator=generator)
    return Batch(torch.arange(EXAMPLES), (views,), labels, siblings=(siblings,))


def _dense(target: object) -> torch.Tensor:
    probabilities = getattr(target, "probabilities", None)
    assert isinstance(probabilities, torch.Tensor)
    return probabilities


def _same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_same, a, b))
    return a == b
