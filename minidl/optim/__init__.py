"""Optimisers, learning-rate schedules and penalties, by PyTorch's names."""

from . import lr_scheduler
from .adaptive import Adadelta, Adagrad, Adam, AdamW, RMSprop
from .optimizer import Optimizer
from .penalty import elastic_penalty, l1_penalty, l2_penalty
from .sgd import SGD, DampenedSGD

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "DampenedSGD", "Optimizer", "RMSprop", "elastic_penalty",
    "l1_penalty", "l2_penalty", "lr_scheduler",
]  # fmt: skip
