"""How much a network's answers differ among the images of a class (KDCL's diagnostic, Guo et al., CVPR 2020)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int64


def class_spread(
    probabilities: Float[np.ndarray, "examples classes"], labels: Int64[np.ndarray, " examples"]
) -> Float64[np.ndarray, " classes"]:
    """Return for each class the standard deviation of the true class's probability over the images of that class.

    The sum of squares is divided by the number of images. A class without images has NaN.

    Args:
        probabilities: rows that sum to 1.
        labels: the true classes, in 0..K-1.
    """
    classes = probabilities.shape[1]
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    images = np.bincount(labels, minlength=classes).astype(np.float64)
    images[images == 0] = np.nan
    mean = np.bincount(labels, true, classes) / images
    # centred first: the difference of two sums would lose the digits of a small spread
    return np.sqrt(np.bincount(labels, (true - mean[labels]) ** 2, classes) / images)
