"""Classifying on a device gives the answers of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import models
from minidl.backend import DeviceError
from minidl.predict import Classifier, Ensemble, Preprocess, Views

pytest.importorskip("PIL")


@pytest.mark.parametrize("views", [Views(crops=10), Views(dense=True, scales=(64, 70))], ids=["crops", "dense"])
def test_probabilities_are_those_of_the_cpu(cupy: Any, views: Views) -> None:
    prepare = Preprocess(resize=72, crop=63)
    photos = [np.random.default_rng(i).integers(0, 256, (3, 80 + i, 90), np.uint8) for i in range(3)]

    def ask(device: str) -> np.ndarray:
        minidl.manual_seed(0)
        networks = [models.squeezenet1_1(num_classes=4), models.cifar_resnet20(num_classes=4)]
        return Ensemble([Classifier(n, prepare, "abcd", views, device=device) for n in networks]).probabilities(photos)

    np.testing.assert_allclose(ask("cuda"), ask("cpu"), rtol=1e-4)


def test_a_device_that_does_not_exist() -> None:
    with pytest.raises(DeviceError, match="unknown device 'gpu'"):
        Classifier(models.lenet_caffe(), Preprocess(), "ab", device="gpu")
