"""The loss of many units over many classes, a few units at a time, so that what it needs on the way stays small.

Targets, log-softmax and their gradients are made for one chunk after the other, and the gradient with respect to the
logits is found at once. So besides the logits [U, K] of each student (and teacher) there is their gradient [U, K], in
the logits' own type, and some ten float32 copies of a chunk; without chunks there are some ten copies of everything.
What is found is the same up to the order in which the units are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.core.batch import Units
from limbeck.core.imitation import Losses
from limbeck.core.writer import Step

Imitate = Callable[[Step], Losses]


def pieces(step: Step, size: int) -> Iterator[Step]:
    """Cut a step's units into chunks of at most `size`; the batch stays whole."""
    count = len(step.students[0].logits)
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        yield step._replace(
            students=[units.rows(rows) for units in step.students],
            teacher=None if step.teacher is None else [units.rows(rows) for units in step.teacher],
            siblings=None if step.siblings is None else [units.rows(rows) for units in step.siblings],
            rows=rows,
        )


def chunked(step: Step, size: int, imitate: Imitate) -> Losses:
    """Return what `imitate` says of all units, from chunks of them.

    Args:
        step: of at least one unit.
        size: units of a chunk.
        imitate: evaluates the loss of a step, over all students.
    """
    found = _Found()
    total = _Chunked.apply(step, size, imitate, found, *(units.logits for units in step.students))
    return Losses(total, found.parts)


class _Found:
    """What is logged, summed over the chunks."""

    def __init__(self) -> None:
        self.parts: dict[str, Tensor] = {}

    def add(self, parts: dict[str, Tensor]) -> None:
        for name, value in parts.items():
            self.parts[name] = self.parts[name] + value if name in self.parts else value


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, step: Step, size: int, imitate: Imitate, found: _Found, *logits: Float[Tensor, "units classes"]
    ) -> Float[Tensor, ""]:
        wanted = ctx.needs_input_grad[4:]
        gradients = [torch.empty_like(one) if need else None for one, need in zip(logits, wanted, strict=True)]
        total: Tensor | None = None
        for piece in pieces(step, size):
            students = [_leaf(units, need) for units, need in zip(piece.students, wanted, strict=True)]
            with torch.set_grad_enabled(any(wanted)):
                losses = imitate(piece._replace(students=students))
            if any(wanted):
                _descend(losses.total, students, [one if one is None else one[piece.rows] for one in gradients])
            found.add({name: value.detach() for name, value in losses.parts.items()})
            total = losses.total.detach() if total is None else total + losses.total.detach()
        assert total is not None
        ctx.save_for_backward(*(one for one in gradients if one is not None))
        ctx.wanted = wanted
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *factors: Float[Tensor, ""]) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        # in place: it is needed once, and is as large as the logits
        scaled = [next(saved).mul_(factors[0]) if need else None for need in ctx.wanted]
        return None, None, None, None, *scaled


def _leaf(units: Units, trained: bool) -> Units:
    return units._replace(logits=units.logits.detach().requires_grad_(trained))


def _descend(loss: Tensor, students: Sequence[Units], into: Sequence[Tensor | None]) -> None:
    """Write the gradient of a chunk's loss with respect to each student's logits into its place."""
    pairs = [(units.logits, place) for units, place in zip(students, into, strict=True) if place is not None]
    found = torch.autograd.grad(loss, [logits for logits, _ in pairs], allow_unused=True)
    for gradient, (_, place) in zip(found, pairs, strict=True):
        if gradient is None:
            place.zero_()
        else:
            place.copy_(gradient)
