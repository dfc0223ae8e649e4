"""Every classifier of the zoo against golden.json: parameters, multiply-accumulates, shapes, size of the state dict.

Nothing is computed and no weights exist: the models are made inside of ``skip_init`` and see an empty batch.
"""

import json
from pathlib import Path

import pytest

from minidl import models, nn
from minidl._macs import dry_run

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
NETWORKS = {name: facts for name, facts in GOLDEN.items() if not name.startswith("_")}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_is_counted_as_in_the_golden_file(name):
    facts = NETWORKS[name]
    with nn.utils.skip_init():
        model = models.create(name)
    _, *input_shape = facts["input"]
    assert list(models.info(name).input_shape) == input_shape
    assert sum(p.numel() for p in model.parameters()) == facts["params"]
    if "n_tensors" in facts:
        assert len(model.state_dict()) == facts["n_tensors"]
    if "buffers" in facts:
        statistics = [b for key, b in model.named_buffers() if key.endswith(("running_mean", "running_var"))]
        assert sum(b.numel() for b in statistics) == facts["buffers"]

    # auxiliary heads exist in training mode; their shapes stand in a dictionary by the names of the result's fields
    several = isinstance(facts["output"], dict)
    output, macs = dry_run(model, input_shape, training=several)
    expected = facts["output"] if several else {"": facts["output"]}
    got = {key: getattr(output, key).shape if key else output.shape for key in expected}
    assert got == {key: (0, *shape[1:]) for key, shape in expected.items()}
    if facts.get("macs") is not None:
        assert macs == facts["macs"]
