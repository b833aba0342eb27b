"""Every matcher has a limit in which it is something else: the same trajectory, weight by weight."""

import copy
import json

import pytest
import torch
from torch import nn

from limbeck.core import Batch, Clock, Objective, Peers, Until
from limbeck.core.matcher import Explorable
from limbeck.matching import AttentionTransfer, FactorTransfer, FitNet, InheritExplore, Overhaul
from limbeck.targets import CSKD, DML, PSKD, CrossEntropy, Hinton
from limbeck.tasks import Classification
from limbeck.teachers.teacher import Teacher

CODED = FactorTransfer(20.0, coder="autoencoder", factors=3)
WHOLE = {
    "at": AttentionTransfer(50.0),
    "fitnet": FitNet(1.0),
    "ft": FactorTransfer(20.0),
    "ft, autoencoder, l2": FactorTransfer(20.0, coder="autoencoder", distance="l2", form="size_free"),
    "od": Overhaul(0.01),
}


def weightless(matcher):
    changed = copy.deepcopy(matcher)
    if isinstance(changed, InheritExplore):
        changed.inherit = changed.explore = 0.0
    else:
        changed.weight = 0.0
    return changed


@pytest.fixture
def teacher(tiny):
    """A teacher with batch norms, wider than the student."""
    _, network = tiny
    net = network(11, width=6, norm="batch")
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.bias, -0.5, 0.5)
    return Teacher(net)


def both(state):
    """Return all that is trained, matchers too, in one vector."""
    return torch.cat([p.detach().flatten() for p in state.objective.parameters()])


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (CrossEntropy(), {}),
        (Hinton(0.7, 2.0), {}),
        (CrossEntropy(), {"clip": 0.5, "ema": 0.9, "accumulate": 2, "mix": True}),
    ],
    ids=["ce", "kd", "settings"],
)
@pytest.mark.parametrize("name", [*WHOLE, "ie", "ie, random", "od, batch statistics"])
def test_at_weight_zero_every_matcher_is_the_plain_method(train, weights, teacher, name, method, settings):
    others = {
        "ie": InheritExplore(CODED),
        "ie, random": InheritExplore(AttentionTransfer(), split="random"),
        "od, batch statistics": Overhaul(batch_statistics=True),
    }
    matcher = weightless((WHOLE | others)[name])
    if matcher.batch_statistics and method.needs.teacher:
        pytest.skip("the teacher's answers, which KD imitates, are by batch statistics too")
    taught = teacher if method.needs.teacher else None
    settings = {"epochs": 1} | settings
    plain, matched = train(method, taught, **settings), train(method, teacher, matchers=[matcher], **settings)
    assert torch.equal(weights(plain), weights(matched))


@pytest.mark.parametrize("method", [PSKD(0.8), PSKD(0.8, memory="model"), CSKD()], ids=["pskd", "model", "cskd"])
def test_beside_methods_that_ask_the_student_more_often(train, weights, teacher, method):
    """Neither a copy of the student that is asked nor what it says of siblings is heard."""
    plain = train(method, epochs=2)
    assert torch.equal(weights(plain), weights(train(method, teacher, matchers=[AttentionTransfer(0.0)], epochs=2)))
    train(method, teacher, matchers=[AttentionTransfer(50.0), FitNet(1.0)], epochs=2)


@pytest.mark.parametrize("matcher", WHOLE.values(), ids=WHOLE)
def test_every_matcher_leaves_the_plain_method(train, weights, teacher, matcher):
    plain, matched = train(CrossEntropy(), epochs=1), train(CrossEntropy(), teacher, matchers=[matcher], epochs=1)
    assert not torch.allclose(weights(plain), weights(matched), atol=1e-4)


@pytest.mark.parametrize("matcher", WHOLE.values(), ids=WHOLE)
def test_at_ratio_one_inheriting_is_the_wrapped_matcher(train, teacher, matcher):
    whole = both(train(CrossEntropy(), teacher, matchers=[matcher], epochs=2))
    assert torch.equal(whole, both(train(CrossEntropy(), teacher, matchers=[InheritExplore(matcher, 1.0)], epochs=2)))
    random = both(train(CrossEntropy(), teacher, matchers=[InheritExplore(matcher, 1.0, "random", 3)], epochs=2))
    torch.testing.assert_close(random, whole, rtol=1e-4, atol=1e-5)


class OnHalf(Explorable):
    """A matcher on the first half of the student's channels."""

    term = "half"

    def __init__(self, matcher):
        super().__init__()
        self.matcher, self.weight, self.between = copy.deepcopy(matcher), matcher.weight, matcher.between

    def choose(self, student, teacher):
        return self.matcher.choose(student, teacher)

    def prepare(self, pairs):
        self.matcher.prepare(
            [
                pair._replace(
                    student=pair.student._replace(shape=(pair.student.shape[0] // 2, *pair.student.shape[1:]))
                )
                for pair in pairs
            ]
        )

    def coding(self):
        return self.matcher.coding()

    def take(self, encoder):
        self.matcher.take(encoder)

    def look(self, features):
        return self.matcher.look(features.narrow(1, 0, features.shape[1] // 2))

    def look_at_teacher(self, features):
        return self.matcher.look_at_teacher(features)

    def gap(self, student, teacher):
        return self.matcher.gap(student, teacher)

    def exploration(self, student, teacher):
        raise NotImplementedError


@pytest.mark.parametrize("matcher", WHOLE.values(), ids=WHOLE)
def test_without_exploration_it_is_the_wrapped_matcher_on_half_of_the_channels(train, weights, teacher, matcher):
    half = train(CrossEntropy(), teacher, matchers=[OnHalf(matcher)], epochs=2)
    inherited = train(CrossEntropy(), teacher, matchers=[InheritExplore(matcher, explore=0.0)], epochs=2)
    assert torch.equal(weights(half), weights(inherited))
    explored = train(CrossEntropy(), teacher, matchers=[InheritExplore(matcher)], epochs=2)
    assert not torch.equal(weights(half), weights(explored))


@pytest.mark.parametrize("name", ["at", "ft"])
def test_a_weight_that_ends(train, weights, teacher, name):
    matcher = WHOLE[name]

    def until(epoch, **settings):
        changed = copy.deepcopy(matcher)
        changed.weight = Until(matcher.weight, epoch)
        return weights(train(CrossEntropy(), teacher, matchers=[changed], epochs=3, **settings))

    whole = weights(train(CrossEntropy(), teacher, matchers=[matcher], epochs=3))
    first = weights(train(CrossEntropy(), teacher, matchers=[matcher], epochs=3, stop_epoch=1))
    assert torch.equal(until(3), whole)
    assert torch.equal(until(1, stop_epoch=1), first)
    assert torch.equal(until(0), weights(train(CrossEntropy(), epochs=3)))
    assert not torch.equal(until(1), whole)


def test_parts_whose_weights_end(train, weights, teacher):
    def matched(**fields):
        matcher = InheritExplore(AttentionTransfer(50.0), **fields)
        return weights(train(CrossEntropy(), teacher, matchers=[matcher], epochs=2))

    assert torch.equal(matched(explore=Until(1.0, 0)), matched(explore=0.0))
    assert torch.equal(matched(inherit=Until(1.0, 2)), matched())
    assert not torch.equal(matched(explore=Until(1.0, 1)), matched())


def test_a_further_matcher_of_weight_zero_changes_nothing(train, weights, teacher):
    one = train(Hinton(0.7, 2.0), teacher, matchers=[WHOLE["ft"]], epochs=2)
    two = train(Hinton(0.7, 2.0), teacher, matchers=[WHOLE["ft"], AttentionTransfer(0.0), FitNet(0.0)], epochs=2)
    assert torch.equal(weights(one), weights(two))


def test_two_halves_of_a_matcher_are_the_whole_one(train, weights, teacher):
    halves = [AttentionTransfer(20.0), AttentionTransfer(30.0)]
    one = weights(train(CrossEntropy(), teacher, matchers=[AttentionTransfer(50.0)], epochs=2))
    two = weights(train(CrossEntropy(), teacher, matchers=halves, epochs=2))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize("matcher", [WHOLE["at"], WHOLE["ft"], InheritExplore(WHOLE["ft"])], ids=["at", "ft", "ie, ft"])
def test_accumulation_is_one_batch(train, teacher, matcher, mix):
    """Matchers without batch norm; what they train is the same as well."""
    method = Hinton(0.7, 2.0)
    whole, cut = (both(train(method, teacher, matchers=[matcher], mix=mix, accumulate=n, epochs=2)) for n in (1, 4))
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-5)


def test_a_clip_is_of_each_matcher_by_itself(train, weights, teacher):
    """A clip that binds the student alone: what the matcher trains goes on as without."""
    free = train(CrossEntropy(), teacher, matchers=[FitNet(0.0)], epochs=1)
    held = train(CrossEntropy(), teacher, matchers=[FitNet(0.0)], epochs=1, clip=1e-3)
    assert not torch.equal(weights(free), weights(held))
    own, other = ([p.detach() for p in one.objective.comparison.parameters()] for one in (free, held))
    assert all(torch.equal(a, b) for a, b in zip(own, other, strict=True))
    loose = train(CrossEntropy(), teacher, matchers=[WHOLE["fitnet"]], epochs=1)
    assert torch.equal(
        both(loose), both(train(CrossEntropy(), teacher, matchers=[WHOLE["fitnet"]], epochs=1, clip=1e6))
    )


def test_averages_of_a_student_that_is_heard(train, weights, teacher):
    matched = {"matchers": [WHOLE["at"]], "epochs": 2}
    last = train(CrossEntropy(), teacher, **matched)
    assert torch.equal(weights(last), weights(train(CrossEntropy(), teacher, ema=0.0, **matched)))
    averaged = train(CrossEntropy(), teacher, ema=0.9, **matched)
    assert not torch.equal(weights(last), weights(averaged))
    assert torch.equal(both(last), both(averaged))


@pytest.mark.parametrize(
    "settings", [{"precision": "bf16-mixed"}, {"channels_last": False}], ids=["bf16", "contiguous"]
)
def test_other_precision_and_memory_format(train, weights, teacher, settings):
    plain = weights(train(CrossEntropy(), epochs=1, **settings))
    for matcher in [*WHOLE.values(), InheritExplore(CODED)]:
        matched = train(CrossEntropy(), teacher, matchers=[weightless(matcher)], epochs=1, **settings)
        assert torch.equal(plain, weights(matched))
        moved = weights(train(CrossEntropy(), teacher, matchers=[matcher], epochs=1, **settings))
        assert moved.isfinite().all()
        usual = weights(train(CrossEntropy(), teacher, matchers=[matcher], epochs=1))
        assert (moved - usual).norm() < (0.3 if "precision" in settings else 1e-4) * usual.norm()


@pytest.mark.parametrize("frozen", [("stem",), ("stem", "layer1", "layer2")])
def test_frozen_layers_of_the_student_stay(train, weights, teacher, frozen):
    def freeze(cohort):
        for name in frozen:
            cohort.alone(0).get_submodule(name).requires_grad_(False)

    settings = {"epochs": 1, "change": freeze}
    plain = train(CrossEntropy(), **settings)
    silent = train(CrossEntropy(), teacher, matchers=[AttentionTransfer(0.0), FitNet(0.0)], **settings)
    assert torch.equal(weights(plain), weights(silent))
    matched = train(CrossEntropy(), teacher, matchers=list(WHOLE.values()), **settings)
    for name in frozen:
        pairs = zip(plain.cohort.alone(0).get_submodule(name).parameters(),
                    matched.cohort.alone(0).get_submodule(name).parameters(), strict=True)  # fmt: skip
        assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(weights(plain), weights(matched)) == (len(frozen) == 3)


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
@pytest.mark.parametrize(
    "matcher",
    [
        AttentionTransfer(0.0, between="peers"),
        FitNet(0.0, between="peers"),
        InheritExplore(FactorTransfer(0.0, between="peers", coder="autoencoder")),
    ],
    ids=["at", "fitnet", "ie, ft"],
)
def test_between_peers_at_weight_zero_students_go_as_without(train, weights, matcher, updates):
    method = DML(1.0, updates=updates)
    plain, matched = (train(method, seeds=(3, 4, 5), matchers=one, epochs=1) for one in ((), [matcher]))
    assert torch.equal(weights(plain), weights(matched))


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_between_peers_accumulation_is_one_batch(train, updates):
    method, matchers = DML(1.0, updates=updates), [InheritExplore(AttentionTransfer(20.0, between="peers"))]
    whole, cut = (both(train(method, seeds=(3, 4), matchers=matchers, epochs=1, accumulate=n)) for n in (1, 4))
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-5)


def test_the_log_names_each_term_and_how_much_it_pulls(train, teacher, tmp_path):
    matchers = [WHOLE["at"], weightless(WHOLE["ft"]), InheritExplore(WHOLE["at"])]
    train(Hinton(0.7, 2.0), teacher, matchers=matchers, folder=tmp_path, epochs=2)
    for line in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines()):
        terms = ["0.attention", "factor", "2.attention/inherit", "2.attention/explore"]
        found = {name: line[f"gradient share/{name}"] for name in terms}
        assert found["factor"] == 0
        assert all(0 < share < 1 for name, share in found.items() if name != "factor")
        assert sum(found.values()) < 1
        assert all(name in line for name in terms)


@pytest.mark.parametrize(
    ("distance", "form"), [("l1", "mean"), ("l2", "mean"), ("cosine", "mean"), ("l1", "size_free"), ("l2", "size_free")]
)
def test_where_the_student_is_the_teacher_nothing_pulls(tiny, distance, form):
    """And nothing is NaN, where l2 has its kink and where exploring begins."""
    _, network = tiny
    net, taught = network(3), network(3)
    objective = Objective(
        Peers([net]),
        CrossEntropy(),
        Classification(),
        Teacher(taught),
        None,
        [FactorTransfer(distance=distance, form=form), AttentionTransfer(), InheritExplore(AttentionTransfer())],
        (1, 8, 8),
    )
    factors = objective.comparison.links[0].matcher
    encoder = factors.coding().coder.encoder
    factors.translator.encoder.load_state_dict(encoder.state_dict())
    factors.take(encoder)
    view = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    step = objective(Batch(torch.arange(6), (view,), torch.arange(6) % 4), Clock(0, 1, 0, 1))
    step.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())
    assert float(step.parts["0.attention" if "0.attention" in step.parts else "1.attention"]) == 0
    assert float(step.parts["factor"]) == pytest.approx(0, abs=1e-5)
    shares = {name: float(share) for name, share in step.gradient_shares.items()}
    assert shares["gradient share/1.attention"] == 0
    assert shares["gradient share/factor"] == (0 if distance != "cosine" else pytest.approx(0, abs=1e-3))
