"""Photographs to answers: a network's own preprocessing, many views of one image, ensembles, accuracy.

>>> from minidl.predict import PREPROCESS
>>> print(PREPROCESS["imagenet"])
shorter side to 256 (bilinear), centre 224x224, RGB, (x / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
"""

from .classify import Classifier, Ensemble, Ranking, rank
from .errors import PredictError
from .images import find_images, read_photo
from .load import Choice, choose_network, load_classifier
from .preprocess import PREPROCESS, Preprocess, parse_preprocess
from .score import Samples, Score, load_samples, score
from .views import Views

__all__ = [
    "PREPROCESS",
    "Choice",
    "Classifier",
    "Ensemble",
    "PredictError",
    "Preprocess",
    "Ranking",
    "Samples",
    "Score",
    "Views",
    "choose_network",
    "find_images",
    "load_classifier",
    "load_samples",
    "parse_preprocess",
    "rank",
    "read_photo",
    "score",
]
