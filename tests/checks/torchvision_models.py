"""torchvision's models as an oracle, from any wheel of it.

Its networks are plain Python on torch's layers, but ``import torchvision`` also registers its compiled operators (for
boxes and files), which load only beside the very build of torch that they were compiled for.  Where they do not load,
``torchvision.models`` is imported without the package's ``__init__``, which is what asks for them.
"""

import importlib
import importlib.util
import sys
import types

import pytest


def torchvision_models():
    """The module ``torchvision.models``; the test that asks is skipped where torch or torchvision is not installed."""
    pytest.importorskip("torch")
    spec = importlib.util.find_spec("torchvision") if "torchvision" not in sys.modules else True
    if spec is None:
        pytest.skip("torchvision is not installed: python -m pip install --no-deps torchvision==0.28.0")
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError:  # its operators were compiled for another build of torch
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        package = types.ModuleType("torchvision")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["torchvision"] = package
        return importlib.import_module("torchvision.models")
