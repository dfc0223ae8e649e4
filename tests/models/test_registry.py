"""The list of models: names, options as text, fitting a model to data."""

import functools

import numpy as np
import pytest

import minidl
from minidl import models, nn, registry
from minidl.cli._app import run


def test_names_and_entries() -> None:
    names = models.list()
    assert names == sorted(names)
    assert {"lenet5", "lenet5_1998", "lenet_300_100", "lenet_caffe", "mlp", "simple_convnet"} <= set(names)
    assert models.info("lenet5").input_shape == (1, 32, 32)
    assert models.create("lenet5", num_classes=3)(minidl.zeros(1, 1, 32, 32)).shape == (1, 3)


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(models.UnknownModelError, match="no model 'ResNet20'; did you mean cifar_resnet20 or "):
        models.create("ResNet20")  # the papers' name of a network that has the data set in front of its name here
    with pytest.raises(models.UnknownModelError, match="there is no model 'lenet6'; did you mean lenet5"):
        models.create("lenet6")
    with pytest.raises(models.UnknownModelError, match=r"there is no model '999'\. `minidl models` lists all \d+"):
        models.info("999")


def test_options_from_text() -> None:
    parse = models.info("mlp").parse_options
    assert parse({"sizes": "784,100,10", "output": "none"}) == {"sizes": (784, 100, 10), "output": None}
    assert parse({"sizes": [5, 2]}) == {"sizes": (5, 2)}
    with pytest.raises(
        models.ModelOptionError,
        match="option sizes of mlp takes whole numbers of at least 1 with commas, as 3,4,4,1, not 'a,b'",
    ):
        parse({"sizes": "a,b"})
    with pytest.raises(
        models.ModelOptionError, match="option input_size of lenet5 takes a whole number of at least 1, not 'big'"
    ):
        models.info("lenet5").parse_options({"input_size": "big"})
    with pytest.raises(
        models.ModelOptionError,
        match=r"lenet5 has no option 'activaton'; did you mean activation\? Its options: num_cl",
    ):
        models.info("lenet5").parse_options({"activaton": "relu"})
    with pytest.raises(models.ModelOptionError, match=r"lenet5_1998 has no option 'x'\. Its options: none"):
        models.info("lenet5_1998").parse_options({"x": 1})


def test_options_of_every_type() -> None:
    def net(deep: bool = False, rate: float = 0.5, where: tuple[bool, ...] = (True,), kind: str = "none") -> None: ...

    entry = registry.ModelInfo("net", net, (1,), "")  # type: ignore[arg-type]
    assert entry.parse_options({"deep": "True", "rate": "0.25"}) == {"deep": True, "rate": 0.25}
    assert entry.parse_options({"deep": False, "rate": 1}) == {"deep": False, "rate": 1.0}
    assert entry.parse_options({"where": "false,true", "kind": "none"}) == {"where": (False, True), "kind": "none"}
    for options, message in (
        ({"deep": "yes"}, "option deep of net takes true or false, not 'yes'"),
        ({"deep": 1}, "option deep of net takes true or false, not 1"),
        ({"rate": "much"}, "option rate of net takes a number, not 'much'"),
        ({"rate": float("nan")}, "option rate of net takes a number, not nan"),
        ({"where": "0,1"}, "option where of net takes true or false with commas, as true, not '0,1'"),
        ({"where": True}, "option where of net takes true or false with commas, as true, not True"),
        ({"kind": 3}, "option kind of net takes a word, not 3"),
    ):
        with pytest.raises(models.ModelOptionError) as caught:
            entry.parse_options(options)
        assert str(caught.value) == message


# ---- settings that no network can have -------------------------------------------------------------------------------

# Of each kind of default: none of these is a value; words are for the networks to refuse
NEVER: dict[type, list[object]] = {
    bool: ["yes", 2, None, (True,)],
    int: [0, -3, "ten", "10", 3.5, None, True, float("nan"), (10,)],
    float: [-0.5, 2.0, float("nan"), float("inf"), "much", None, True, (0.5,)],
    str: ["no such word", 3, ["a"], True, 0.5],
    tuple: [(), (0,), (3.5, 2), ("a", "b"), 5, "3", None, (None, 1), (True, 2, False)],
}
# what would be wrong for another option of this type
ALLOWED: dict[str, list[object]] = {"final_padding": [0], "width": [2.0], "depth": [2.0], "eps": [2.0]}


@pytest.mark.parametrize("name", models.list())
def test_a_bad_value_of_any_option_is_refused_by_name(name: str) -> None:
    """Whichever way the network is made, and before it is: no weights are drawn for it."""
    info = models.info(name)
    for option, default in info.options().items():
        for value in NEVER[type(default)]:
            if value in ALLOWED.get(option, []):
                continue
            messages = []
            for make in (functools.partial(models.create, name), getattr(models, name)):
                with nn.utils.skip_init(), pytest.raises(models.ModelOptionError) as caught:
                    make(**{option: value})
                messages.append(str(caught.value))
            assert messages[0] == messages[1]
            assert option in messages[0] and repr(value) in messages[0]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("resnet50", {"num_classes": -3}, "option num_classes of resnet50 takes a whole number of at least 1, not -3"),
        ("alexnet", {"dropout": 2}, "option dropout of alexnet takes a number of at least 0 and below 1, not 2"),
        ("mobilenet_v2", {"width": 0}, "option width of mobilenet_v2 takes a number above 0, not 0"),
        (
            "squeezenet1_1",
            {"final_padding": -1},
            "option final_padding of squeezenet1_1 takes a whole number of at least 0, not -1",
        ),
        (
            "resnet101",
            {"replace_stride_with_dilation": (0, 1, 1)},
            "option replace_stride_with_dilation of resnet101 takes true or false with commas, as "
            "false,false,false, not (0, 1, 1)",
        ),
        ("mobilenet_v1", {"width": 0.03}, "mobilenet_v1: a width of 0.03 leaves 0 of its 32 first maps; 0.03125 is"),
        ("simple_convnet", {"input_size": 1}, "simple_convnet: input_size is at least 2, for it is halved, not 1"),
    ],
)
def test_what_a_bad_value_is_told(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(models.ModelOptionError) as caught:
        models.create(name, **options)
    assert str(caught.value).startswith(message)


def test_a_bad_setting_is_one_line_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["summary", "resnet50"], ["train", "cifar_resnet20", "--data", "digits"]):
        assert run([*command, "--options.num_classes=-3"]) == 2
        assert capsys.readouterr().err == (
            f"minidl: option num_classes of {command[1]} takes a whole number of at least 1, not -3\n"
        )


def test_numbers_of_numpy_are_numbers() -> None:
    net = models.create("lenet_caffe", num_classes=np.int64(3))
    assert net(minidl.zeros(1, 1, 28, 28)).shape == (1, 3)
    models.info("alexnet").check({"dropout": np.float32(0.25), "num_classes": np.uint8(7)})


def test_options_that_a_function_of_ones_own_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of options without a default, and any name is right where the function takes any."""
    monkeypatch.setattr(registry, "_MODELS", {})

    @registry.register((4,), "here")
    def own(width, depth: int | None = 2, lr: float = -1.0, **more):  # type: ignore[no-untyped-def]
        return width, depth, lr, more

    assert registry.create("own", width="wide", depth=None, lr=-5, other=[]) == ("wide", None, -5, {"other": []})
    assert own(3) == (3, 2, -1.0, {})
    texts = {"width": "3", "depth": "none", "other": "x"}
    assert registry.info("own").parse_options(texts) == {**texts, "depth": None}
    with pytest.raises(models.ModelOptionError, match="option depth of own takes a whole number above 0, not 'deep'"):
        registry.create("own", width=1, depth="deep")


def test_fitting_a_model_to_data() -> None:
    assert models.info("lenet_caffe").for_data((1, 8, 8), 5, {}) == ({"num_classes": 5}, (1, 28, 28))
    assert models.info("lenet5").for_data((1, 28, 28), 10, {"input_size": 28})[1] == (1, 28, 28)
    options, shape = models.info("mlp").for_data((3, 4, 5), 6, {"hidden": "tanh"})
    assert (options, shape) == ({"sizes": (60, 100, 6), "hidden": "tanh", "output": None}, (3, 4, 5))


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two models are called 'lenet5'"):
        registry.register((1,), "twice")(models.lenet5)
