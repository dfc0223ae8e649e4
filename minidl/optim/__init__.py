"""Optimisers, learning-rate schedules, averages of weights and penalties, by PyTorch's names."""

from . import lr_scheduler, swa_utils
from .adaptive import Adadelta, Adagrad, Adam, AdamW, RMSprop
from .diagonal_lm import DiagonalLM, diagonal_curvature
from .optimizer import Optimizer
from .penalty import elastic_penalty, l1_penalty, l2_penalty
from .rmsprop_tf import RMSpropTF
from .sgd import SGD, DampenedSGD

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "DampenedSGD", "DiagonalLM", "Optimizer", "RMSprop", "RMSpropTF",
    "diagonal_curvature", "elastic_penalty", "l1_penalty", "l2_penalty", "lr_scheduler", "swa_utils",
]  # fmt: skip
