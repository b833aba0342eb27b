"""Who is trained: the networks that learn together. One student is a cohort of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from limbeck.core.batch import Output
from limbeck.errors import LimbeckError


class Cohort(nn.Module, ABC):
    """The trained networks, run together: one forward a step."""

    students: nn.ModuleList

    @abstractmethod
    def forward(self, views: Sequence[Tensor]) -> list[Output]:
        """Return one output per student, from one shared view or from one view each."""


class Peers(Cohort):
    """Independent networks, each of which can be deployed alone.

    Attributes:
        students: the networks; each maps a view [B, C, H, W] to logits [B, K], or to an `Output` (see `taps.Tapped`).
    """

    def __init__(self, students: Sequence[nn.Module]) -> None:
        super().__init__()
        if not students:
            raise LimbeckError("a cohort needs at least one student")
        self.students = nn.ModuleList(students)

    def forward(self, views: Sequence[Tensor]) -> list[Output]:
        """Run every student on its own view, or all on the one there is."""
        if len(views) not in {1, len(self.students)}:
            raise LimbeckError(f"{len(self.students)} students need 1 or {len(self.students)} views, not {len(views)}")
        own = views if len(views) == len(self.students) else [views[0]] * len(self.students)
        answers = [student(view) for student, view in zip(self.students, own, strict=True)]
        return [answer if isinstance(answer, Output) else Output(answer) for answer in answers]
