"""Random changes of a picture that move its boxes with it, by torchvision, one picture at a time.

They draw from torch's global generator, which whoever calls them has seeded.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Int64, UInt8
from pydantic import Field, Strict
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from limbeck.core.config import Count, Fraction, configurable

IMAGENET_MEAN = (0.485, 0.456, 0.406)
# smaller pictures have crops of no pixel
_LEAST = 4


class Scene(NamedTuple):
    """A picture while it is changed.

    Attributes:
        image: as read, and changed, 8 bits.
        boxes: left, top, right, bottom, in pixels of it.
        classes: what is in each.
        shorter: what its shorter side will be when the network sees it.
    """

    image: UInt8[Tensor, "3 height width"]
    boxes: Float32[Tensor, "boxes 4"]
    classes: Int64[Tensor, " boxes"]
    shorter: int


@runtime_checkable
class BoxView(Protocol):
    """One random change of a picture and its boxes.

    Attributes:
        name: its name in a recipe.
        proportional: whether the picture keeps the proportion of its sides.
    """

    name: ClassVar[str]
    proportional: ClassVar[bool]

    def __call__(self, scene: Scene) -> Scene:
        """Return the changed picture; boxes that have lost their area are gone."""
        ...


@configurable
class BoxFlip:
    """Mirror left and right.

    Attributes:
        probability: share of the pictures that are mirrored.
    """

    name: ClassVar[str] = "flip"
    proportional: ClassVar[bool] = True

    probability: Fraction = 0.5

    def __call__(self, scene: Scene) -> Scene:
        """Return the changed picture."""
        return _moved(v2.RandomHorizontalFlip(self.probability), scene)


@configurable
class Photometric:
    """Change brightness, contrast, saturation and hue, and swap the colours, as SSD does.

    Source: Liu et al., "SSD: Single Shot MultiBox Detector" (2016), and its code; ranges are torchvision's.

    Attributes:
        probability: of each of these changes.
    """

    name: ClassVar[str] = "photometric"
    proportional: ClassVar[bool] = True

    probability: Fraction = 0.5

    def __call__(self, scene: Scene) -> Scene:
        """Return the changed picture."""
        return _moved(v2.RandomPhotometricDistort(p=self.probability), scene)


@configurable
class ZoomOut:
    """Put the picture anywhere on a larger, empty one, so that its objects become small.

    Source: Liu et al., "SSD: Single Shot MultiBox Detector" (2016), section 3.6.

    Attributes:
        largest: the sides of the larger picture are 1 to so many times as long.
        probability: share of the pictures that are zoomed out.
        fill: red, green and blue of the empty part, in [0, 1].
    """

    name: ClassVar[str] = "zoom_out"
    proportional: ClassVar[bool] = True

    largest: Annotated[float, Strict(), Field(ge=1, le=8)] = 4.0
    probability: Fraction = 0.5
    fill: tuple[Fraction, Fraction, Fraction] = IMAGENET_MEAN

    def __call__(self, scene: Scene) -> Scene:
        """Return the changed picture."""
        fill = [round(255 * value) for value in self.fill]
        return _moved(v2.RandomZoomOut(fill, (1.0, self.largest), self.probability), scene)


@configurable
class IoUCrop:
    """Cut a part out that overlaps some box enough; boxes whose centre is cut off are gone.

    The part has sides of 0.3 to 1 times those of the picture, none twice the other, and an intersection over union of
    at least 0, 0.1, 0.3, 0.5, 0.7 or 0.9 with one of its boxes; or it is the whole picture. So are pictures without
    boxes, and those with less than 4 pixels on a side.

    Source: Liu et al., "SSD: Single Shot MultiBox Detector" (2016), section 2.2; scales are torchvision's.
    """

    name: ClassVar[str] = "iou_crop"
    proportional: ClassVar[bool] = False

    def __call__(self, scene: Scene) -> Scene:
        """Return the changed picture."""
        if not len(scene.boxes) or min(scene.image.shape[-2:]) < _LEAST:
            return scene
        return _moved(v2.RandomIoUCrop(), scene)


@configurable
class Rescale:
    """Show the picture in one of several sizes, in place of the data's `shorter`.

    Attributes:
        sides: what the shorter side may be, in pixels.
    """

    name: ClassVar[str] = "rescale"
    proportional: ClassVar[bool] = True

    sides: Annotated[tuple[Count, ...], Field(min_length=1)] = (640, 672, 704, 736, 768, 800)

    def __call__(self, scene: Scene) -> Scene:
        """Return the picture with another side to be shown at."""
        return scene._replace(shorter=self.sides[int(torch.randint(len(self.sides), ()))])


BOX_VIEWS: Final[dict[str, type[BoxView]]] = {
    view.name: view for view in (BoxFlip, Photometric, ZoomOut, IoUCrop, Rescale)
}


def _moved(transform: Any, scene: Scene) -> Scene:
    size = tuple(scene.image.shape[-2:])
    frames = tv_tensors.BoundingBoxes(scene.boxes, format="XYXY", canvas_size=size)
    image, frames = transform(tv_tensors.Image(scene.image), frames)
    boxes: Tensor = frames.as_subclass(Tensor)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return scene._replace(image=image.as_subclass(Tensor), boxes=boxes[kept], classes=scene.classes[kept])
