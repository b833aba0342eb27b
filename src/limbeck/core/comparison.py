"""What a step compares: which layers of which networks, by which matchers, and how much each term pulls."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from limbeck.core.batch import Clock
from limbeck.core.cohort import unmoved
from limbeck.core.layers import probe
from limbeck.core.matcher import Matcher, Pair, Term
from limbeck.core.taps import Heard, Tap, Taps
from limbeck.errors import LimbeckError

# sets the first weights of matchers apart from those of students that are built with the same seed
_MATCHERS = 1


class Link(NamedTuple):
    """One comparison of a student with who teaches it.

    Attributes:
        name: put before the matcher's terms where several are called alike.
        student: its number.
        source: the number of the other student, or None for the teacher.
        matcher: with modules of its own.
        pairs: of layers.
        taps: of the student.
        source_taps: of who teaches it.
    """

    name: str
    student: int
    source: int | None
    matcher: Matcher
    pairs: Sequence[Pair]
    taps: Sequence[Tap]
    source_taps: Sequence[Tap]


class Compared(NamedTuple):
    """What one step has found.

    Attributes:
        terms: of each student, by name.
        features: the outputs of each student's tapped layers.
    """

    terms: Sequence[Mapping[str, Term]]
    features: Sequence[Sequence[Tensor]]


class Comparison(nn.Module):
    """Matchers between networks, each with its own modules, and the taps that feed them.

    Attributes:
        links: all comparisons.

    Args:
        matchers: configured; they are copied, once for every student and every network that teaches it.
        students: the trained networks.
        teacher: the frozen network, or None.
        shape: of one image, [C, H, W].
        seed: of the first weights of the matchers' modules.

    Raises:
        LimbeckError: a matcher has nothing to compare with, or its layers cannot be compared; says which.
    """

    def __init__(
        self,
        matchers: Sequence[Matcher],
        students: Sequence[nn.Module],
        teacher: nn.Module | None,
        shape: tuple[int, ...],
        seed: int,
    ) -> None:
        super().__init__()
        layers = [probe(student, shape) for student in students]
        taught = None if teacher is None else probe(teacher, shape)
        alike = Counter(matcher.term for matcher in matchers)
        self.links: list[Link] = []
        for number, matcher in enumerate(matchers):
            name = f"{number}." if alike[matcher.term] > 1 else ""
            for i in range(len(students)):
                for source in _sources(matcher, i, len(students), teacher):
                    theirs = taught if source is None else layers[source]
                    assert theirs is not None
                    own = copy.deepcopy(matcher)
                    pairs = own.choose(layers[i], theirs)
                    _seeded([seed, _MATCHERS, number, i, *([] if source is None else [source])], own, pairs)
                    self.links.append(_link(name, i, source, own, pairs))
        self.matchers = nn.ModuleList(link.matcher for link in self.links)
        weight = next(iter(students[0].parameters()), None)
        self.to(None if weight is None else weight.device)
        self._students = [Taps(student, self._taps_of(i), layers[i]) for i, student in enumerate(students)]
        wanted = [tap for link in self.links if link.source is None for tap in link.source_taps]
        self._teacher = None if teacher is None or taught is None else Taps(teacher, wanted, taught)
        self._changed = self._use_batch_statistics(teacher) if teacher is not None else []
        self._shares: dict[str, Tensor] = {}

    def _taps_of(self, student: int) -> list[Tap]:
        own = [tap for link in self.links if link.student == student for tap in link.taps]
        asked = [tap for link in self.links if link.source == student for tap in link.source_taps]
        return list(dict.fromkeys(own + asked))

    def _use_batch_statistics(self, teacher: nn.Module) -> list[tuple[_BatchNorm, bool, bool]]:
        """Let the teacher's batch norms normalise by the batch, where a matcher wants it; nothing of them moves."""
        if not any(link.matcher.batch_statistics for link in self.links if link.source is None):
            return []
        norms = [module for module in teacher.modules() if isinstance(module, _BatchNorm)]
        before = [(norm, norm.training, norm.track_running_stats) for norm in norms]
        for norm in norms:
            # statistics that are not tracked are neither read nor written
            norm.training, norm.track_running_stats = True, False
        return before

    @property
    def adapters(self) -> list[tuple[int, nn.Module]]:
        """The matchers that have something to train, each with the number of the student that it serves."""
        return [(link.student, link.matcher) for link in self.links if any(True for _ in link.matcher.parameters())]

    def describe(self) -> list[str]:
        """Say in a line each what is compared with what."""
        several = len(self._students) > 1
        whose = (f"student-{link.student}, " if several else "" for link in self.links)
        return [
            one + link.name + link.matcher.describe(link.pairs) for one, link in zip(whose, self.links, strict=True)
        ]

    @contextmanager
    def listening(self, *, uncompiled: bool = False) -> Iterator[None]:
        """Hear the networks' layers in this context.

        Args:
            uncompiled: run compiled networks as they are written, so that the gradient of their answers by their layers
                can be asked for: layers and answers of a compiled one lie side by side.
        """
        with ExitStack() as stack:
            if uncompiled:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            for taps in self._students:
                taps.whole = uncompiled
            for taps in [*self._students, *([self._teacher] if self._teacher else [])]:
                stack.enter_context(taps.listening())
            yield

    def forward(self, clock: Clock, learner: int | None = None) -> Compared:
        """Return the terms of what was heard.

        Args:
            clock: where training stands.
            learner: the only student whose terms have a gradient; None is all.
        """
        students = [taps.take()[0] if taps.taps else {} for taps in self._students]
        teacher = self._teacher.take() if self._teacher is not None and self._teacher.taps else []
        found: list[dict[str, Term]] = [{} for _ in students]
        for link in self.links:
            own = [students[link.student][tap].kept for tap in link.taps]
            # students that share a view share the teacher's answer
            heard = teacher[link.student % len(teacher)] if link.source is None else students[link.source]
            with nullcontext() if learner in {None, link.student} else unmoved(link.matcher):
                terms = link.matcher(own, [heard[tap].kept for tap in link.source_taps], clock)
            share = 1 if link.source is None else 1 / (len(students) - 1)
            for name, term in terms.items():
                called = link.name + name
                if link.source is not None and len(students) > 2:
                    called = f"{called} student-{link.source}"
                found[link.student][called] = term._replace(weight=share * term.weight)
        return Compared(found, [_outputs(heard) for heard in students])

    def remember(self, shares: Mapping[str, Tensor]) -> None:
        """Keep the shares of an epoch's first step for its line of the log."""
        self._shares |= shares

    def figures(self) -> dict[str, float]:
        """Return the shares of the epoch's first step on this process, and forget them; reads the device."""
        shares, self._shares = self._shares, {}
        return {name: float(share) for name, share in shares.items()}

    def get_extra_state(self) -> dict[str, float]:
        """Return the shares of an epoch that has begun."""
        return {name: float(share) for name, share in self._shares.items()}

    def set_extra_state(self, state: dict[str, float]) -> None:
        """Take them up."""
        self._shares = {name: torch.tensor(share) for name, share in state.items()}

    def close(self) -> None:
        """Leave the networks as they were."""
        for taps in [*self._students, *([self._teacher] if self._teacher else [])]:
            taps.close()
        for norm, training, tracked in self._changed:
            norm.training, norm.track_running_stats = training, tracked


def shares(compared: Compared, losses: Sequence[Float[Tensor, ""]], units: int) -> dict[str, Float[Tensor, ""]]:
    """Return how much of the gradient at its tapped layers each term of a student makes up.

    A share is the L2 norm of the term's gradient over that of all terms and of all else that the student pays for,
    added up; by name, with the student's number where there are several.

    Args:
        compared: of this step.
        losses: of each student, without the terms, summed over the units.
        units: of one student.
    """
    found: dict[str, Tensor] = {}
    for i, (terms, features) in enumerate(zip(compared.terms, compared.features, strict=True)):
        moved = [one for one in features if one.requires_grad]
        if not terms or not moved or not losses[i].requires_grad:
            continue
        weighted = {name: term.weight * term.distance * units for name, term in terms.items()}
        norms = {name: _gradient_norm(value, moved) for name, value in {**weighted, "": losses[i]}.items()}
        total = torch.stack(list(norms.values())).sum()
        ending = f"/{i}" if len(losses) > 1 else ""
        found |= {f"gradient share/{name}{ending}": (norm / total) for name, norm in norms.items() if name}
    return found


def _gradient_norm(value: Tensor, features: Sequence[Tensor]) -> Float[Tensor, ""]:
    if not value.requires_grad:
        return torch.zeros((), device=value.device)
    gradients = torch.autograd.grad(value, features, retain_graph=True, allow_unused=True)
    squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros((), device=value.device)


def _sources(matcher: Matcher, student: int, students: int, teacher: nn.Module | None) -> list[int | None]:
    """Return whom a student is compared with."""
    if matcher.between == "peers":
        if students < 2:
            raise LimbeckError(
                f"{type(matcher).__name__} between peers needs at least two students: set peers, or between: teacher"
            )
        return [i for i in range(students) if i != student]
    if teacher is None:
        raise LimbeckError(f"{type(matcher).__name__} compares with a teacher, and there is none: set teacher")
    return [None]


def _seeded(numbers: Sequence[int], matcher: Matcher, pairs: Sequence[Pair]) -> None:
    """Prepare a matcher by draws of its own, which disturb nobody else's."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
        matcher.prepare(pairs)


def _link(name: str, student: int, source: int | None, matcher: Matcher, pairs: Sequence[Pair]) -> Link:
    look = None if type(matcher).look is Matcher.look else matcher.look
    theirs: Callable[[Tensor], Tensor] | None = (
        None if type(matcher).look_at_teacher is Matcher.look_at_teacher else matcher.look_at_teacher
    )
    if source is not None:
        theirs = functools.partial(_detached, matcher.look_at_teacher)
    taps = [Tap(pair.student.path, look) for pair in pairs]
    return Link(name, student, source, matcher, pairs, taps, [Tap(pair.teacher.path, theirs) for pair in pairs])


@torch.no_grad()
def _detached(look: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    return look(features.detach())


def _outputs(heard: Mapping[Any, Heard]) -> list[Tensor]:
    """Return the tapped layers' outputs, each once."""
    return list({tap.path: one.output for tap, one in heard.items() if one.output is not None}.values())
