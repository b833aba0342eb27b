import pytest
import torch

from limbeck.core import LimbeckError
from limbeck.memory import PredictionBank


def test_a_row_is_what_was_last_recorded_and_the_alternative_before_that():
    bank = PredictionBank(4, "device")
    uniform = torch.full((2, 3), 1 / 3)
    assert torch.equal(bank.recall(torch.tensor([1, 2]), uniform), uniform)
    said = torch.tensor([[0.2, 0.3, 0.5]])
    bank.record(torch.tensor([2]), said)
    assert torch.equal(bank.recall(torch.tensor([1, 2]), uniform), torch.cat([uniform[:1], said]))
    bank.record(torch.tensor([2]), said.flip(1))
    assert torch.equal(bank.recall(torch.tensor([2]), uniform[:1]), said.flip(1))


def test_rows_never_carry_a_gradient():
    bank = PredictionBank(2, "ram")
    bank.record(torch.tensor([0]), torch.randn(1, 3, requires_grad=True).softmax(1))
    assert not bank.recall(torch.tensor([0]), torch.zeros(1, 3)).requires_grad


def test_state_goes_round_and_foreign_states_are_refused():
    bank, twin, other = PredictionBank(4, "device"), PredictionBank(4, "ram"), PredictionBank(5, "ram")
    assert bank.state_dict() == {}
    bank.record(torch.tensor([3]), torch.tensor([[0.25, 0.75]]))
    twin.load_state_dict(bank.state_dict())
    assert torch.equal(twin.recall(torch.tensor([3]), torch.zeros(1, 2)), torch.tensor([[0.25, 0.75]]))
    with pytest.raises(LimbeckError, match="saved bank has 4 examples, the data 5"):
        other.load_state_dict(bank.state_dict())
    with pytest.raises(LimbeckError, match="2 classes, the network 3"):
        bank.record(torch.tensor([0]), torch.full((1, 3), 1 / 3))
