"""Who writes the soft target: one file per paper. `METHODS` is the closed table that recipes name."""

from limbeck.core.objective import TargetWriter
from limbeck.targets.hinton import Hinton as Hinton
from limbeck.targets.label_smoothing import LabelSmoothing as LabelSmoothing
from limbeck.targets.labels import CrossEntropy as CrossEntropy
from limbeck.targets.pskd import PSKD as PSKD

METHODS: dict[str, type[TargetWriter]] = {
    "cross_entropy": CrossEntropy,
    "label_smoothing": LabelSmoothing,
    "kd": Hinton,
    "pskd": PSKD,
}
