"""The papers' networks for small images, and bridges to torchvision's and timm's."""

from limbeck.models.table import MODELS as MODELS
from limbeck.models.table import ModelSpec as ModelSpec
from limbeck.models.table import build_model as build_model
from limbeck.models.table import check_model as check_model
from limbeck.models.table import list_models as list_models
from limbeck.models.table import parameters as parameters
from limbeck.models.table import task_of as task_of
