import itertools

import pytest
import torch

from limbeck.core import LimbeckError, Room
from limbeck.memory import Dense, PredictionBank, TopK

UNIFORM = torch.full((1, 3), 1 / 3)
FIRST, SECOND = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[0.7, 0.2, 0.1]])
TWO = torch.tensor([2])
HOMES = ["device", "ram", "disk"]
FORMATS = [Dense(), Dense("float16"), TopK(2), TopK(2, "float16")]


@pytest.fixture(params=HOMES)
def home(request):
    return request.param


@pytest.fixture
def bank(tmp_path, home):
    """Return a function that makes a bank of four examples."""

    def make(*arguments, home=home, examples=4, folder="bank", **options):
        return PredictionBank(Room(examples, folder=tmp_path / folder), home, *arguments, **options)

    return make


def test_rows_of_an_epoch_are_recalled_from_the_next_one_on(bank):
    bank = bank()
    bank.record(TWO, FIRST)
    assert torch.equal(bank.recall(TWO, UNIFORM), UNIFORM)
    bank.turn()
    assert torch.equal(bank.recall(TWO, UNIFORM), FIRST)
    bank.record(TWO, SECOND)
    assert torch.equal(bank.recall(TWO, UNIFORM), FIRST)
    bank.turn()
    assert torch.equal(bank.recall(torch.tensor([1, 2]), UNIFORM.expand(2, 3)), torch.cat([UNIFORM, SECOND]))
    bank.turn()
    assert torch.equal(bank.recall(TWO, UNIFORM), SECOND)


def test_rows_never_carry_a_gradient(bank):
    bank = bank()
    bank.record(torch.tensor([0]), torch.randn(1, 3, requires_grad=True).softmax(1))
    bank.turn()
    assert not bank.recall(torch.tensor([0]), torch.zeros(1, 3)).requires_grad


@pytest.mark.parametrize("to", HOMES)
def test_a_begun_epoch_goes_round_with_the_past_into_any_home(bank, home, to):
    bank, twin = bank(), bank(home=to, folder="bank" if home == "disk" else "other")
    assert bank.state_dict() == {"epoch": 0}
    bank.record(TWO, FIRST)
    bank.turn()
    bank.record(TWO, SECOND)
    state = bank.state_dict()
    del bank
    twin.load_state_dict(state)
    assert torch.equal(twin.recall(TWO, UNIFORM), FIRST)
    twin.record(torch.tensor([0]), UNIFORM)
    twin.turn()
    assert torch.equal(twin.recall(torch.tensor([0, 1, 2]), FIRST.expand(3, 3)), torch.cat([UNIFORM, FIRST, SECOND]))


def test_what_was_recorded_after_a_state_is_forgotten_with_it(bank):
    one = bank()
    one.record(TWO, FIRST)
    one.turn()
    state = one.state_dict()
    one.record(torch.tensor([0]), SECOND)
    one.turn()
    two = bank()
    two.load_state_dict(state)
    two.record(TWO, SECOND)
    two.turn()
    assert torch.equal(two.recall(torch.tensor([0, 2]), UNIFORM.expand(2, 3)), torch.cat([UNIFORM, SECOND]))


def test_foreign_states_and_other_class_counts_are_refused(bank):
    ours = bank()
    ours.record(TWO, FIRST)
    ours.turn()
    state = ours.state_dict()
    with pytest.raises(LimbeckError, match="saved predictions have examples 4, and here it is 5"):
        bank(examples=5).load_state_dict(state)
    with pytest.raises(LimbeckError, match="have window 1, and here it is 2"):
        bank(window=2).load_state_dict(state)
    with pytest.raises(LimbeckError, match="have format float32, and here it is the top 2 in float16"):
        bank(TopK(2, "float16")).load_state_dict(state)
    with pytest.raises(LimbeckError, match="3 classes, the network 2"):
        ours.record(TWO, torch.full((1, 2), 0.5))
    with pytest.raises(LimbeckError, match="3 classes, the network 2"):
        ours.recall(TWO, torch.full((1, 2), 0.5))


@pytest.mark.parametrize("wrong", [-1, 4])
def test_ids_out_of_range_or_twice_in_a_batch_are_refused(bank, wrong):
    bank = bank()
    with pytest.raises(LimbeckError, match=f"example id {wrong} .* ids 0 to 3: pass examples=1"):
        bank.record(torch.tensor([2, wrong]), FIRST.expand(2, 3))
    with pytest.raises(LimbeckError, match="example 2 comes twice in one batch"):
        bank.record(torch.tensor([2, 0, 2]), FIRST.expand(3, 3))
    bank.record(TWO, FIRST)
    bank.turn()
    with pytest.raises(LimbeckError, match=f"example id {wrong}"):
        bank.recall(torch.tensor([wrong]), UNIFORM)


@pytest.mark.parametrize("weights", [(), (1.0,), (1.0, 1.0, 1.0)])
def test_a_window_wants_a_weight_for_each_epoch(weights):
    with pytest.raises(LimbeckError, match=f"window of 2 epochs needs as many weights, and there are {len(weights)}"):
        PredictionBank(Room(4), window=2, weights=weights)


def test_a_top_k_that_keeps_all_is_refused():
    with pytest.raises(LimbeckError, match="top_k is 3 and there are 3 classes: set it below"):
        PredictionBank(Room(4), "device", TopK(3)).record(TWO, FIRST)


def test_a_disk_without_a_folder_is_refused():
    with pytest.raises(LimbeckError, match=r"need a folder: give the Objective Room\(examples, folder"):
        PredictionBank(Room(4), "disk").record(TWO, FIRST)


EPOCHS, EXAMPLES, CLASSES = 6, 5, 4
SEEN = [{0, 1, 2}, {1, 2, 3}, {0, 1, 2, 3}, set(), {2}, {0, 3}]  # by epoch; example 4 never


@pytest.mark.parametrize(
    ("window", "weights", "average"),
    [(1, None, 0.0), (1, None, 0.3), (2, None, 0.0), (3, (0.5, 2.0, 1.0), 0.0), (2, (3.0, 1.0), 0.6)],
)
@pytest.mark.parametrize(
    ("home", "format"),
    [*itertools.product(["device"], FORMATS), ("disk", Dense()), ("disk", TopK(2, "float16"))],
    ids=str,
)
def test_several_epochs_against_plain_lists(tmp_path, home, window, weights, average, format):
    """Half of the recorded rows are of mixed images that are mostly another's: there the last epoch's row stays."""
    generator = torch.Generator().manual_seed(3)
    bank = PredictionBank(
        Room(EXAMPLES, folder=tmp_path), home, format, window=window, weights=weights, average=average
    )
    history, labels = [], torch.eye(CLASSES)[torch.arange(EXAMPLES) % CLASSES].tolist()
    shares = weights or (1.0,) * window

    def remembered(example):
        """Return the weighted mean of what there is, or None."""
        total, found = 0.0, [0.0] * CLASSES
        for back, share in zip(range(1, window + 1), shares, strict=True):
            row = history[-back].get(example) if back <= len(history) else None
            if row is not None:
                total += share
                found = [value + share * entry for value, entry in zip(found, row, strict=True)]
        return [value / total for value in found] if total else None

    exact = format == Dense()
    for seen in SEEN:
        for example in range(EXAMPLES):
            expected = remembered(example) or labels[example]
            got = bank.recall(torch.tensor([example]), torch.tensor([labels[example]]))[0].tolist()
            assert got == pytest.approx(expected, rel=1e-6 if exact else None, abs=1e-12 if exact else 1e-2)
            assert sum(got) == pytest.approx(1)
        now = {}
        for example in sorted(seen):
            row = (3 * torch.randn(1, CLASSES, generator=generator)).softmax(1)
            if not exact:  # so that the top two are nearly all there is
                row = torch.where(row == row.max(), 0.992, 0.008 / (CLASSES - 1))
            own = (example + len(history)) % 2 == 0
            bank.record(torch.tensor([example]), row, torch.tensor([own]), torch.tensor([labels[example]]))
            past = remembered(example)
            said = row[0].tolist()
            mean = said if past is None else [average * p + (1 - average) * s for p, s in zip(past, said, strict=True)]
            older = history[-1].get(example) if history else None
            now[example] = mean if own else older or labels[example]
        bank.turn()
        history.append({**(history[-1] if history else {}), **now})


def test_homes_hold_the_same_bits(tmp_path):
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randperm(40, generator=generator)[:30], torch.randn(30, 7, generator=generator)) for _ in "123"]
    for format, window in [(Dense(), 1), (Dense("float16"), 2), (TopK(3, "float16"), 1)]:
        found = []
        for home in HOMES:
            bank = PredictionBank(Room(40, folder=tmp_path / f"{format} {window}"), home, format, window=window)
            for ids, logits in batches:
                bank.record(ids, logits.softmax(1))
                bank.turn()
            found.append(bank.recall(torch.arange(40), torch.zeros(40, 7)))
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])
