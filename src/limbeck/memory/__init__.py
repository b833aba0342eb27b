"""What is kept per training example."""

from limbeck.memory.bank import PredictionBank as PredictionBank
