"""Coders that learn before the student: how they begin, what they are known by, what is left behind."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from limbeck.core.errors import LimbeckError
from limbeck.train import coders
