"""What is kept of the past: rows per training example, or the networks themselves."""

from limbeck.memory.bank import PredictionBank as PredictionBank
from limbeck.memory.formats import Dense as Dense
from limbeck.memory.formats import TopK as TopK
from limbeck.memory.snapshot import Snapshot as Snapshot
