"""What every matcher must do. Runs under pytest, needs nothing else.

class TestMyMatcher(MatcherSuite):
def make(self):
return MyMatcher(weight=0.5)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.core.batch import Batch
from limbeck.core.matcher import Matcher, Term
from limbeck.testing.compared import EXAMPLES, Case, Net, batch_of, modes_of

# by what student and teacher divide the size of their maps
SIZES = {"equal": (2, 2), "half": (2, 1), "double": (1, 2)}


class MatcherSuite:
    """Checks of one matcher between two small networks; subclass it and override `make`.

    Attributes:
        averages: whether the terms of two halves of a batch average to those of the whole.
    """

    averages = True

    def make(self) -> Matcher:
        """Return a new matcher of the kind under test."""
        raise NotImplementedError

    def network(self, width: int, pool: int) -> nn.Module:
        """Return a network for images [B, 1, 16, 16]; `pool` divides the height and width of all its maps."""
        return Net(width, pool)

    def test_terms_are_finite_and_train_the_student_alone(self) -> None:
        """Each term is one number for the batch; no gradient reaches who teaches."""
        for size in SIZES:
            case = self._case(size)
            terms = case.terms()
            assert terms
            for name, term in terms.items():
                assert term.distance.shape == (), name
                assert term.distance.isfinite(), name
                assert term.weight >= 0, name
            _sum(terms).backward()  # type: ignore[no-untyped-call]
            moved = [*case.student.parameters(), *case.comparison.parameters()]
            found = [weight.grad for weight in moved if weight.grad is not None]
            assert all(one.isfinite().all() for one in found)
            own = [weight.grad for weight in case.student.parameters() if weight.grad is not None]
            assert any(one.abs().max() > 0 for one in own)
            assert all(weight.grad is None for weight in case.other.parameters())

    def test_steps_leave_the_teacher_as_it_is(self) -> None:
        """Neither weights nor statistics nor modes of it move; its batch norms are given back as they were."""
        if self.make().between == "peers":
            return
        case = self._case(also=_odd)
        network = case.other
        before, modes = copy.deepcopy(network.state_dict()), case.modes
        case.steps(3)
        assert _same(network.state_dict(), before)
        assert not any(weight.requires_grad for weight in network.parameters())
        case.comparison.close()
        assert modes_of(network) == modes
        assert not any(module._forward_hooks for module in [*network.modules(), *case.student.modules()])
        assert _same(network.state_dict(), before)

    def test_the_student_answers_as_without_it(self) -> None:
        """Being heard changes no bit of an answer or of the statistics, and adds nothing to the student."""
        case = self._case()
        twin = copy.deepcopy(case.student)
        for step in range(2):
            view = batch_of(step).views[0]
            with case.comparison.listening():
                heard = case.student(view)
            assert torch.equal(heard, twin(view))
        assert _same(case.student.state_dict(), twin.state_dict())

    def test_the_same_seed_makes_the_same_and_disturbs_nobody(self) -> None:
        """What it trains depends on the seed alone, and on no draw of others."""
        torch.manual_seed(9)
        before = torch.get_rng_state()
        one = self._case(seed=4)
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(10)
        two = self._case(seed=4)
        assert _same(one.trained(), two.trained())
        drawn = any(weight.std() > 0 for weight in one.comparison.parameters() if weight.numel() > 1)
        assert not drawn or not _same(one.trained(), self._case(seed=5).trained())

    def test_a_restored_one_goes_on_alike(self) -> None:
        """After `load_state_dict` another one gives the loss that the first one gives, and steps alike."""
        one, two = self._case(seed=4), self._case(seed=5)
        one.steps(2)
        two.objective.load_state_dict(copy.deepcopy(one.objective.state_dict()))
        assert torch.equal(one.loss(2), two.loss(2))

    def test_half_precision_is_raised(self) -> None:
        """Features in bfloat16 give the terms of their float32 ones, within rounding, in float32."""
        case = self._case()
        case.comparison.eval()
        whole = case.by_hand(lambda features: features.bfloat16().float())
        with torch.autocast("cpu", torch.bfloat16):
            half = case.by_hand(lambda features: features.bfloat16())
        for name, term in whole.items():
            assert half[name].distance.dtype == torch.float32, name
            torch.testing.assert_close(half[name].distance, term.distance, rtol=0.05, atol=1e-4)

    def test_two_halfbatch_ofes_average_to_the_whole(self) -> None:
        """Where every example counts by itself, a batch may be cut: over processes, over micro-batches."""
        case = self._case()
        case.objective.eval()
        batch = batch_of(0)
        whole = case.terms(batch)
        halves = [case.terms(_cut(batch, part)) for part in (slice(None, EXAMPLES // 2), slice(EXAMPLES // 2, None))]
        for name, term in whole.items():
            mean = (halves[0][name].distance + halves[1][name].distance) / 2
            assert torch.allclose(mean, term.distance, rtol=1e-4, atol=1e-7) or not self.averages, name

    def test_a_copy_is_another_one(self) -> None:
        """A deep copy gives the same terms, and what is done to it reaches the first one nowhere."""
        case = self._case()
        case.comparison.eval()
        before = case.by_hand()
        twins = [copy.deepcopy(link.matcher) for link in case.comparison.links]
        assert _equal(case.by_hand(matchers=twins), before)
        with torch.no_grad():
            for twin in twins:
                for tensor in [*twin.parameters(), *twin.buffers()]:
                    tensor.zero_()
        assert _equal(case.by_hand(), before)

    def test_steps_lower_its_loss(self) -> None:
        """Steps on one batch lower the sum of its weighted terms."""
        case = self._case()
        optimiser = torch.optim.Adam([*case.student.parameters(), *case.comparison.parameters()], 5e-3)
        losses = []
        for _ in range(12):
            optimiser.zero_grad()
            loss = _sum(case.terms())
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.detach())
        assert losses[-1] < losses[0]

    def _case(self, size: str = "equal", seed: int = 0, also: Callable[[nn.Module], None] | None = None) -> Case:
        """Return the matcher at work between new networks.

        Args:
            size: of the student's maps beside the teacher's.
            seed: of what the matcher trains.
            also: done to the teacher first.
        """
        with torch.random.fork_rng():
            torch.manual_seed(1)
            student, other = (self.network(width, pool) for width, pool in zip((4, 6), SIZES[size], strict=True))
        if also is not None:
            also(other)
        return Case(self.make(), student, other, seed)


def _odd(network: nn.Module) -> None:
    """Give one batch norm a mode of its own, which it has to be given back."""
    next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d)).track_running_stats = False


def _cut(batch: Batch, part: slice) -> Batch:
    return Batch(batch.ids[part], tuple(view[part] for view in batch.views), batch.labels[part])


def _sum(terms: Mapping[str, Term]) -> Tensor:
    return torch.stack([term.weight * term.distance for term in terms.values()]).sum()


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _equal(one: Mapping[str, Term], other: Mapping[str, Term]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name].distance, other[name].distance) for name in one)
