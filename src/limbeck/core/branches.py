"""Branches: several students with one stem, and a gate that makes one ensemble of them (ONE, NeurIPS 2018).

Any networks of one architecture become branches, whatever their code: what has finished when the layer named `split`
begins is the stem, and runs in the first network only. In the others its modules are replaced by modules without
weights, which say what the first network's have just said.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.batch import Output, View
from limbeck.core.cohort import Cohort
from limbeck.core.split import UNREADABLE, at_rest, find_stem, pooled
from limbeck.errors import LimbeckError


class Branches(Cohort):
    """Networks that share a stem, and their gated ensemble.

    The outputs are those of the branches, "student-0" and so on, and "ensemble": Σ_i g_i z_i, where the weights g of
    an image are a softmax over the branches of ReLU(BatchNorm(Linear(·))) of what enters the split layer, averaged over
    places.

    Attributes:
        students: the networks. The first one holds the stem's weights; the others have their own from `split` on.
        gate: from features [B, F] to weights [B, branches], which sum to 1.

    Args:
        networks: two or more of one architecture, each with first weights of its own; they are taken apart.
        split: the dotted path of the first layer of which each branch has its own.

    Raises:
        LimbeckError: there is no such layer, no weights lie before or after it, the networks cannot be split there, or
            two branches are the same.
    """

    def __init__(self, networks: Sequence[nn.Module], split: str) -> None:
        super().__init__()
        if len(networks) < 2:
            raise LimbeckError(f"branches are two networks or more, here is {len(networks)}")
        if len({tuple((name, weight.shape) for name, weight in one.state_dict().items()) for one in networks}) > 1:
            raise LimbeckError("branches are networks of one architecture, and these have different weights")
        first = networks[0]
        stem = find_stem(first, split)
        self._memory = _Memory()
        for path in stem.paths:
            clones = path in stem.overwritten
            for network in networks[1:]:
                _replace(network, network.get_submodule(path), _Echo(path, self._memory, clones))
            first.get_submodule(path).register_forward_hook(_Keep(path, self._memory, clones))
        first.get_submodule(split).register_forward_pre_hook(_Look(self._memory, stem.axis), with_kwargs=True)
        self.students = nn.ModuleList(networks)
        count = len(networks)
        self.gate = nn.Sequential(
            nn.Linear(stem.features, count), nn.BatchNorm1d(count), nn.ReLU(), nn.Softmax(dim=-1)
        ).to(stem.probe)
        self._check(split, stem.probe)

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the branches, "student-0" and so on, and "ensemble"."""
        return (*(f"student-{i}" for i in range(len(self.students))), "ensemble")

    @property
    def parts(self) -> Sequence[nn.Module]:
        """All together, since they share weights."""
        return [self]

    def forward(self, views: Sequence[View], learner: int | None = None, like: Sequence[Output] = ()) -> list[Output]:
        """Run the stem once and every branch on it.

        Raises:
            LimbeckError: there is more than one view, a learner, or a choice to follow.
        """
        if like:
            raise LimbeckError("branches choose nothing that they answer of, so they cannot follow another's choice")
        if learner is not None:
            raise LimbeckError("branches share their stem, so they cannot step in turns: train them all together")
        if len(views) != 1:
            raise LimbeckError(f"branches share their stem, so they look at one view, not at {len(views)}")
        outputs = []
        try:
            for student in self.students:
                self._memory.rewind()
                answer = student(views[0])
                outputs.append(answer if isinstance(answer, Output) else Output(answer))
            shares: Tensor = self.gate(self._memory.features)
        finally:
            self._memory.clear()
        logits = torch.stack([output.logits for output in outputs], 1)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return [*outputs, Output((shares.to(wide)[:, :, None] * logits.to(wide)).sum(1))]

    def alone(self, index: int) -> nn.Module:
        """Return a branch as a network of the original architecture, or the ensemble; the weights are those in here."""
        if index == len(self.students):
            return Ensemble(self)
        # what is in the memo is not copied
        memo: dict[int, Any] = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        memo[id(self._memory)] = self._memory
        stem, network = (copy.deepcopy(self.students[i], memo) for i in (0, index))
        for module in list(network.modules()):
            if isinstance(module, _Echo):
                _replace(network, module, stem.get_submodule(module.path))
        for module in network.modules():
            for hooks in (module._forward_hooks, module._forward_pre_hooks):
                for key in [key for key, hook in hooks.items() if isinstance(hook, _Keep | _Look)]:
                    del hooks[key]
        return network

    def _check(self, split: str, probe: Tensor) -> None:
        """Refuse branches that are the same, and networks with weights before the split that are not the stem's."""
        names = dict(self.students[1].named_parameters()).keys()
        own = [[network.get_parameter(name) for name in names] for network in self.students]
        for i, j in itertools.combinations(range(len(own)), 2):
            if all(map(torch.equal, own[i], own[j])):
                same = f"branches {i} and {j} have the same weights"
                raise LimbeckError(f"{same}, and nothing to teach each other: make each network anew")
        try:
            with at_rest(self), torch.enable_grad():
                first, second, *_ = self((probe,))
        except UNREADABLE as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LimbeckError(f"the network cannot be split at {split!r} ({reason}): split elsewhere") from error
        if passed_by := _used(self.students[0], first.logits) & names - _used(self.students[1], second.logits):
            raise LimbeckError(
                f"the weights {min(passed_by)!r} are used before {split!r} and belong to a layer that ends after it: "
                "split elsewhere"
            )


class Ensemble(nn.Module):
    """The gated ensemble as a network by itself.

    Attributes:
        branches: whose.
    """

    def __init__(self, branches: Branches) -> None:
        super().__init__()
        self.branches = branches

    def forward(self, view: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the ensemble's logits."""
        output: Output = self.branches((view,))[-1]
        return output.logits


class _Memory:
    """What the stem said in the forward that runs now; nothing between forwards."""

    def __init__(self) -> None:
        self.said: dict[str, list[Tensor]] = {}
        self.heard: dict[str, int] = {}
        self.features: Tensor | None = None
        self.running = False

    def rewind(self) -> None:
        self.running = True
        self.heard = {}

    def clear(self) -> None:
        self.running = False
        self.said, self.heard, self.features = {}, {}, None


class _Keep:
    """Forward hook of a module of the stem: keeps what it puts out, call by call."""

    def __init__(self, path: str, memory: _Memory, clones: bool) -> None:
        self.path, self.memory, self.clones = path, memory, clones

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if self.memory.running:
            self.memory.said.setdefault(self.path, []).append(output.clone() if self.clones else output)


class _Look:
    """Forward pre-hook of the split layer: keeps the mean of what enters it, at once, before it can be overwritten."""

    def __init__(self, memory: _Memory, axis: int) -> None:
        self.memory, self.axis = memory, axis

    def __call__(self, module: nn.Module, inputs: Any, named: Any) -> None:
        if self.memory.running and self.memory.features is None:
            self.memory.features = pooled(inputs, named, self.axis)


class _Echo(nn.Module):
    """In the place of a module of the stem: says what that said."""

    def __init__(self, path: str, memory: _Memory, clones: bool) -> None:
        super().__init__()
        self.path, self.memory, self.clones = path, memory, clones

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Return what the first network's module returned in the same call."""
        call = self.memory.heard.get(self.path, 0)
        self.memory.heard[self.path] = call + 1
        said = self.memory.said.get(self.path, [])
        if call >= len(said):
            raise LimbeckError(f"layer {self.path!r} ran in a branch and not in the stem: split elsewhere")
        return said[call].clone() if self.clones else said[call]


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in another's place, under each of its names."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)


def _used(network: nn.Module, logits: Tensor) -> set[str]:
    """Return the names of the weights on which the logits depend."""
    weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    gradients = torch.autograd.grad(logits.sum(), list(weights.values()), retain_graph=True, allow_unused=True)
    return {name for name, gradient in zip(weights, gradients, strict=True) if gradient is not None}
