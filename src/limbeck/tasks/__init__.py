"""What is learned. `TASKS` is the closed table that recipes name."""

from limbeck.tasks.classification import Classification as Classification
from limbeck.tasks.classification import Predictions as Predictions
from limbeck.tasks.classification import predict as predict
from limbeck.tasks.detection import Detection as Detection
from limbeck.tasks.task import EvaluatedTask as EvaluatedTask
from limbeck.tasks.translation import Translation as Translation

TASKS: dict[str, type[EvaluatedTask]] = {
    "classification": Classification,
    "detection": Detection,
    "translation": Translation,
}
