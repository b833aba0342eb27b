"""The quick start: one function for any network and any map-style data set."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.utils.data import Dataset

from limbeck.core.cohort import Peers
from limbeck.core.config import Named, configurable, fields_of
from limbeck.core.objective import TargetWriter
from limbeck.data.load import Splits, splits_of
from limbeck.errors import LimbeckError
from limbeck.recipes.explain import explain
from limbeck.targets import METHODS
from limbeck.tasks.classification import Predictions
from limbeck.teachers.teacher import Inputs, Teacher, TeacherChoice, load_teacher, origin
from limbeck.train.loop import Training
from limbeck.train.optimisers import OPTIMISERS, OptimiserChoice
from limbeck.train.progress import Display
from limbeck.train.rates import RATES, Rate
from limbeck.train.run import Job, Origin, run
from limbeck.train.runtime import Runtime
