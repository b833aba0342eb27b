"""What is classified."""

from limbeck.tasks.classification import Classification as Classification
from limbeck.tasks.classification import Predictions as Predictions
from limbeck.tasks.classification import predict as predict
