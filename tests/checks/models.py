"""What the tests of the models share: shapes layer by layer, and a run forward and backward."""

import importlib

import numpy as np

import minidl
from minidl import models, nn
from minidl._macs import dry_run


def shell(name, **options):
    """The model called ``name`` without memory for its weights: shapes, names and counts only."""
    with nn.utils.skip_init():
        return models.create(name, **options)


def layer_shapes(model, input_shape, kinds=(nn.Module,)):
    """(class name, output shape without the batch) of every leaf module of ``kinds``, in the order of the calls."""
    shapes = []

    def note(module, args, output):
        shapes.append((type(module).__name__, output.shape[1:]))

    leaves = [m for m in model.modules() if isinstance(m, kinds) and not list(m.children())]
    handles = [m.register_forward_hook(note) for m in leaves]
    dry_run(model, input_shape)
    for handle in handles:
        handle.remove()
    return shapes


def sizes(model, input_shape):
    """The shapes (C, H, W) or (F,) behind convolutions, pooling and linear layers, as tables list them."""
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Linear)
    return [shape for _, shape in layer_shapes(model, input_shape, kinds)]


def check_runs_both_ways(model, input_shape, outputs, batch=2, seed=0):
    """Forward and backward in training mode and in eval mode, with a random cotangent.

    Every parameter gets a finite gradient, not zero everywhere in all of them; eval mode is deterministic, changes
    no buffer, and an image has the same result alone as in its batch.  Gives back the result of eval mode.
    """
    rng = np.random.default_rng(seed)
    parameters = dict(model.named_parameters())
    for training in (True, False):
        model.train(training)
        buffers = {name: b.numpy().copy() for name, b in model.named_buffers()}
        x = minidl.tensor(rng.standard_normal((batch, *input_shape), dtype="float32"), requires_grad=True)
        y = model(x)
        assert y.shape == (batch, *outputs) and y.dtype == np.float32
        assert np.isfinite(y.detach().numpy()).all()
        model.zero_grad()
        y.backward(minidl.tensor(rng.standard_normal(y.shape, dtype="float32")))
        for name, p in parameters.items():
            assert p.grad is not None and np.isfinite(p.grad.numpy()).all(), name
        assert any(p.grad.numpy().any() for p in parameters.values())
        assert np.isfinite(x.grad.numpy()).all()
        if not training:
            for name, b in model.named_buffers():
                np.testing.assert_array_equal(b.numpy(), buffers[name], err_msg=name)
            again, alone = model(x).detach().numpy(), model(x[:1]).detach().numpy()
            y = y.detach().numpy()
            np.testing.assert_array_equal(again, y)
            np.testing.assert_allclose(alone, y[:1], rtol=1e-4, atol=1e-4 * np.abs(y).max())
    return y


def narrow_head(monkeypatch, module, width=300):
    """Let the models of minidl.models.``module`` have hidden layers of ``width`` instead of 4096."""

    def head(in_features, classes, dropout):
        layers = [nn.Linear(in_features, width), nn.ReLU(), nn.Dropout(dropout)]
        layers += [nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, classes)]
        return nn.Sequential(*layers)

    # models.alexnet is the function; the module of that name is found by its path
    monkeypatch.setattr(importlib.import_module(f"minidl.models.{module}"), "two_hidden_layers", head)
