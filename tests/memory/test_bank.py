import pytest
import torch

from limbeck.core import LimbeckError
from limbeck.memory import PredictionBank

UNIFORM = torch.full((1, 3), 1 / 3)
FIRST, SECOND = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[0.7, 0.2, 0.1]])
TWO = torch.tensor([2])


def test_rows_of_an_epoch_are_recalled_from_the_next_one_on():
    bank = PredictionBank(4, "device")
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


def test_rows_never_carry_a_gradient():
    bank = PredictionBank(2, "ram")
    bank.record(torch.tensor([0]), torch.randn(1, 3, requires_grad=True).softmax(1))
    bank.turn()
    assert not bank.recall(torch.tensor([0]), torch.zeros(1, 3)).requires_grad


def test_a_begun_epoch_goes_round_with_the_past():
    bank, twin = PredictionBank(4, "device"), PredictionBank(4, "ram")
    assert bank.state_dict() == {}
    bank.record(TWO, FIRST)
    bank.turn()
    assert set(bank.state_dict()) == {"past"}
    bank.record(TWO, SECOND)
    twin.load_state_dict(bank.state_dict())
    assert torch.equal(twin.recall(TWO, UNIFORM), FIRST)
    twin.turn()
    assert torch.equal(twin.recall(TWO, UNIFORM), SECOND)


def test_foreign_states_and_other_class_counts_are_refused():
    bank = PredictionBank(4, "device")
    bank.record(TWO, FIRST)
    with pytest.raises(LimbeckError, match="saved bank has 4 examples, the data 5"):
        PredictionBank(5, "ram").load_state_dict(bank.state_dict())
    with pytest.raises(LimbeckError, match="3 classes, the network 2"):
        bank.record(TWO, torch.full((1, 2), 0.5))
