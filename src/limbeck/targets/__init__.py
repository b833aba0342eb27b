"""Who writes the soft target: one file per method. `METHODS` is the closed table that recipes name."""

from limbeck.core.writer import TargetWriter
from limbeck.targets.cskd import CSKD as CSKD
from limbeck.targets.dml import DML as DML
from limbeck.targets.hinton import Hinton as Hinton
from limbeck.targets.kdcl import KDCL as KDCL
from limbeck.targets.label_smoothing import LabelSmoothing as LabelSmoothing
from limbeck.targets.labels import CrossEntropy as CrossEntropy
from limbeck.targets.one import ONE as ONE
from limbeck.targets.pskd import PSKD as PSKD
from limbeck.targets.tfkd_reg import TfKDReg as TfKDReg
from limbeck.targets.tfkd_reg import virtual_teacher as virtual_teacher
from limbeck.targets.tfkd_self import TfKDSelf as TfKDSelf

METHODS: dict[str, type[TargetWriter]] = {
    "cross_entropy": CrossEntropy,
    "label_smoothing": LabelSmoothing,
    "kd": Hinton,
    "tfkd_self": TfKDSelf,
    "tfkd_reg": TfKDReg,
    "cskd": CSKD,
    "pskd": PSKD,
    "dml": DML,
    "kdcl": KDCL,
    "one": ONE,
}
