"""How each metric is printed: its name carries its scale.

Free of torch, so that comparing finished runs starts at once.
"""

from __future__ import annotations

from typing import NamedTuple

from limbeck.errors import LimbeckError, nearest


class Figure(NamedTuple):
    """One column of a results table.

    Attributes:
        key: the name in a summary, where values are unscaled (fractions, nats).
        name: the name in print, with its scale.
        scale: what an unscaled value is multiplied by in print.
        lower_is_better: which way is up.
        digits: decimals in print.

    """

    key: str
    name: str
    scale: float
    lower_is_better: bool
    digits: int

    def show(self, value: float) -> str:
        """Print an unscaled value: `figure("error").show(0.2418)` is `'24.18'`."""
        return f"{value * self.scale:.{self.digits}f}"


FIGURES = (
    Figure("error", "Top-1 error %", 100, lower_is_better=True, digits=2),
    Figure("top5_error", "Top-5 error %", 100, lower_is_better=True, digits=2),
    Figure("nll", "NLL", 1, lower_is_better=True, digits=3),
    Figure("brier", "Brier", 1, lower_is_better=True, digits=3),
    Figure("ece", "ECE %", 100, lower_is_better=True, digits=2),
    Figure("aurc", "AURC x1000", 1000, lower_is_better=True, digits=2),
    Figure("eaurc", "E-AURC x1000", 1000, lower_is_better=True, digits=2),
)
"""The figures of a classifier, in the order in which they are printed."""

OF_TRANSLATION = (
    Figure("bleu", "BLEU", 100, lower_is_better=False, digits=2),
    Figure("chrf", "chrF2", 100, lower_is_better=False, digits=2),
)
"""Those of a translator, beside what the figures of a classifier say of its tokens."""

OF_DETECTION = (
    Figure("voc_map", "VOC mAP %", 100, lower_is_better=False, digits=2),
    Figure("voc07_map", "VOC07 mAP %", 100, lower_is_better=False, digits=2),
    Figure("ap", "AP %", 100, lower_is_better=False, digits=2),
    Figure("ap50", "AP50 %", 100, lower_is_better=False, digits=2),
    Figure("ap75", "AP75 %", 100, lower_is_better=False, digits=2),
)
"""Those of a detector, which has none of a classifier's."""

ALL = (*OF_TRANSLATION, *OF_DETECTION, *FIGURES)
"""Those of all tasks."""


def figure(key: str) -> Figure:
    """Return the figure of that key, or raise `LimbeckError` with the nearest known key."""
    for candidate in ALL:
        if candidate.key == key:
            return candidate
    raise LimbeckError(f"there is no figure {key!r}{nearest(key, [known.key for known in ALL])}")
