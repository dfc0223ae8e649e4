"""The list of models: names, options as text, fitting a model to data."""

import pytest

import minidl
from minidl import models, registry


def test_names_and_entries() -> None:
    names = models.list()
    assert names == sorted(names)
    assert {"lenet5", "lenet5_1998", "lenet_300_100", "lenet_caffe", "mlp", "simple_convnet"} <= set(names)
    assert models.info("lenet5").input_shape == (1, 32, 32)
    assert models.create("lenet5", num_classes=3)(minidl.zeros(1, 1, 32, 32)).shape == (1, 3)


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(models.UnknownModelError, match="there is no model 'lenet6'; did you mean lenet5"):
        models.create("lenet6")
    with pytest.raises(models.UnknownModelError, match=r"there is no model '999'\. `minidl models` lists all \d+"):
        models.info("999")


def test_options_from_text() -> None:
    parse = models.info("mlp").parse_options
    assert parse({"sizes": "784,100,10", "output": "none"}) == {"sizes": (784, 100, 10), "output": None}
    assert parse({"sizes": [5, 2]}) == {"sizes": (5, 2)}
    with pytest.raises(models.ModelOptionError, match="option sizes of mlp takes whole numbers with commas, not 'a,b'"):
        parse({"sizes": "a,b"})
    with pytest.raises(models.ModelOptionError, match="option input_size of lenet5 takes a whole number, not 'big'"):
        models.info("lenet5").parse_options({"input_size": "big"})
    with pytest.raises(
        models.ModelOptionError,
        match=r"lenet5 has no option 'activaton'; did you mean activation\? Its options: num_cl",
    ):
        models.info("lenet5").parse_options({"activaton": "relu"})
    with pytest.raises(models.ModelOptionError, match=r"lenet5_1998 has no option 'x'\. Its options: none"):
        models.info("lenet5_1998").parse_options({"x": 1})


def test_options_of_every_type() -> None:
    def net(deep: bool = False, rate: float = 0.5) -> None: ...

    entry = registry.ModelInfo("net", net, (1,), "")  # type: ignore[arg-type]
    assert entry.parse_options({"deep": "True", "rate": "0.25"}) == {"deep": True, "rate": 0.25}
    assert entry.parse_options({"deep": False, "rate": 1}) == {"deep": False, "rate": 1.0}
    with pytest.raises(models.ModelOptionError, match="option deep of net takes true or false, not 'yes'"):
        entry.parse_options({"deep": "yes"})
    with pytest.raises(models.ModelOptionError, match="option rate of net takes a number, not 'much'"):
        entry.parse_options({"rate": "much"})


def test_fitting_a_model_to_data() -> None:
    assert models.info("lenet_caffe").for_data((1, 8, 8), 5, {}) == ({"num_classes": 5}, (1, 28, 28))
    assert models.info("lenet5").for_data((1, 28, 28), 10, {"input_size": 28})[1] == (1, 28, 28)
    options, shape = models.info("mlp").for_data((3, 4, 5), 6, {"hidden": "tanh"})
    assert (options, shape) == ({"sizes": (60, 100, 6), "hidden": "tanh", "output": None}, (3, 4, 5))


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two models are called 'lenet5'"):
        registry.register((1,), "twice")(models.lenet5)
