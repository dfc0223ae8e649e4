"""A run and its folder: started, gone on with, loaded; and the answers of its model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.data import DataError, Digits
from minidl.models import ModelOptionError, UnknownModelError
from minidl.train import (
    CheckpointError,
    TrainConfig,
    TrainingError,
    load_checkpoint,
    load_run,
    new_run_folder,
    predict,
    resume_run,
    save_checkpoint,
    start_run,
)
from tests.train.small_run import as_bytes, without_time
from tests.train.test_tasks import write_folder, write_mnist


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perceptron that has learnt the digits well enough to be asked."""
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    start_run("mlp", TrainConfig(epochs=12, lr=5e-3, augment="none"), folder).fit(12)
    return folder


def test_config_json_says_all_that_the_run_depends_on(digits_run: Path) -> None:
    content = json.loads((digits_run / "config.json").read_text())
    assert content["model"] == "mlp" and content["classes"] == list("0123456789")
    assert content["options"] == {"sizes": [64, 100, 10], "hidden": "relu", "output": None}
    assert content["input_shape"] == [1, 8, 8] and len(content["mean"]) == len(content["std"]) == 1
    settings = content["settings"]
    assert (settings["epochs"], settings["lr"], settings["seed"], settings["optimizer"]) == (12, 5e-3, 0, "adam")
    assert load_checkpoint(digits_run / "checkpoint.safetensors")["config"]["settings"] == settings


def test_start_and_resume_by_name_are_one_run(tmp_path: Path) -> None:
    config = TrainConfig(epochs=2, augment="shift", seed=3)
    start_run("mlp", config, tmp_path / "whole").fit(2)
    start_run("mlp", config, tmp_path / "half").fit(1)
    minidl.manual_seed(77)
    resumed = resume_run(tmp_path / "half", workers=2)
    assert (resumed.epoch, resumed.config["settings"]["epochs"]) == (1, 2)
    resumed.fit(2)
    whole, half = (load_checkpoint(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "half"))
    for state in (whole, half):
        state["history"] = [without_time(row) for row in state["history"]]
    assert as_bytes(whole) == as_bytes(half)


def rates(run: Any) -> list[float]:
    return [round(row["lr"] * 1e3, 4) for row in run.history]


def test_more_epochs_keep_the_schedule_and_then_its_last_rate(tmp_path: Path) -> None:
    """Neither a jump back up, nor epochs with a rate of 0."""
    start_run("mlp", TrainConfig(epochs=2, schedule="cosine", lr=1e-3), tmp_path).fit(2)
    run = resume_run(tmp_path, epochs=4)
    run.fit(4)
    assert rates(run) == [1, 0.5, 0.5, 0.5]
    settings = json.loads((tmp_path / "config.json").read_text())["settings"]
    assert (settings["epochs"], settings["schedule_epochs"]) == (4, 2)
    with pytest.raises(TrainingError, match="has 4 epochs behind it, so --epochs 3 is too few"):
        resume_run(tmp_path, epochs=3)
    again = resume_run(tmp_path, epochs=5)
    again.fit(5)
    assert rates(again) == [1, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("schedule", ["cosine", "poly", "step", "exponential"])
def test_fewer_epochs_and_then_all_are_the_run_as_it_was_planned(tmp_path: Path, schedule: Any) -> None:
    config = TrainConfig(epochs=4, schedule=schedule, warmup=1)
    start_run("mlp", config, tmp_path / "whole").fit(4)
    start_run("mlp", config, tmp_path / "parts").fit(1)
    for epochs in (2, 4):
        resume_run(tmp_path / "parts", epochs=epochs).fit(epochs)
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    for state in (whole, parts):
        state["history"] = [without_time(row) for row in state["history"]]
    assert as_bytes(whole) == as_bytes(parts)


def test_a_schedule_of_its_own_length(tmp_path: Path) -> None:
    run = start_run("mlp", TrainConfig(epochs=4, schedule_epochs=2, schedule="cosine", lr=1e-3), tmp_path)
    run.fit(4)
    assert rates(run) == [1, 0.5, 0.5, 0.5]


def test_a_run_of_before_schedules_had_a_length(tmp_path: Path) -> None:
    start_run("mlp", TrainConfig(epochs=2, schedule="cosine", lr=1e-3), tmp_path).fit(1)
    file = tmp_path / "checkpoint.safetensors"
    state = load_checkpoint(file)
    del state["config"]["settings"]["schedule_epochs"]
    save_checkpoint(file, state)
    run = resume_run(tmp_path, epochs=3)
    run.fit(3)
    assert rates(run) == [1, 0.5, 0.5]


def test_other_seeds_are_other_runs(tmp_path: Path) -> None:
    runs = [start_run("mlp", TrainConfig(seed=seed), tmp_path / str(i)) for i, seed in enumerate((0, 1, 0))]
    first, other, again = (run.model.state_dict()["1.weight"].numpy() for run in runs)
    assert (first != other).any() and (first == again).all()
    orders = [run.train_loader.order(0).tolist() for run in runs]
    assert orders[0] == orders[2] != orders[1]


def test_names_of_folders(tmp_path: Path) -> None:
    def new(**options: Any) -> str:
        return new_run_folder(options.get("out"), "lenet5", options.get("data", "digits"), tmp_path).name

    assert new() == "lenet5-digits"
    (tmp_path / "lenet5-digits").mkdir()
    assert new() == "lenet5-digits-2"
    (tmp_path / "lenet5-digits-2").mkdir()
    assert new() == "lenet5-digits-3"
    assert new(data="some/where/birds") == new(data="folder:birds") == new(data="folder:some/birds/") == "lenet5-birds"
    assert new(data=".") == new(data="folder:.") == f"lenet5-{Path.cwd().name}"
    assert new(data="folder:..") == f"lenet5-{Path.cwd().parent.name}" and new(data="some/birds/x/..") == "lenet5-birds"
    assert new_run_folder(tmp_path / "own", "m", "d") == tmp_path / "own"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"own holds a config.json that minidl train did not write: choose another"):
        new_run_folder(tmp_path / "own", "m", "d")
    (tmp_path / "own" / "checkpoint.safetensors").touch()
    with pytest.raises(TrainingError, match=r"own holds a run already\. Go on with it: minidl train --resume .*own"):
        new_run_folder(tmp_path / "own", "m", "d")


def test_what_does_not_fit_together_is_said_before_anything_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_folder(tmp_path / "birds", {"owl": 4, "tit": 4})
    with pytest.raises(UnknownModelError, match="did you mean lenet5"):
        start_run("lenet6", TrainConfig(), folder)
    with pytest.raises(TrainingError, match="did you mean digits"):
        start_run("lenet5", TrainConfig(data="digit"), folder)
    with pytest.raises(ModelOptionError, match="lenet5 has no option 'depth'"):
        start_run("lenet5", TrainConfig(options={"depth": 3}), folder)
    with pytest.raises(ModelOptionError, match="activation is one of"):
        start_run("lenet5", TrainConfig(options={"activation": "gelu"}), folder)
    with pytest.raises(TrainingError, match=r"gives \(2, 10\) .*has 2 classes and training needs \(2, 2\)"):
        start_run("lenet5_1998", TrainConfig(data=str(tmp_path / "birds")), folder)
    with pytest.raises(TrainingError, match=r"mlp does not take images of shape \(1, 8, 8\): .*matmul|linear"):
        start_run("mlp", TrainConfig(options={"sizes": "10,10"}), folder)
    with pytest.raises(TrainingError, match="mlp takes images as they are, but those of a folder have no size"):
        start_run("mlp", TrainConfig(data=str(tmp_path / "birds")), folder)
    assert not folder.exists()


def test_a_folder_of_images_can_be_learnt(tmp_path: Path) -> None:
    write_folder(tmp_path / "birds", {"owl": 6, "tit": 6})
    run = start_run(
        "simple_convnet", TrainConfig(data=str(tmp_path / "birds"), epochs=1, augment="flip"), tmp_path / "r"
    )
    run.fit(1)
    loaded = load_run(tmp_path / "r")
    assert loaded.classes == ["owl", "tit"] and loaded.input_shape == (3, 32, 32)
    answer = predict(loaded, [tmp_path / "birds" / "owl" / "0.png"])[0]
    assert {name for name, _ in answer.ranking} == {"owl", "tit"} and not answer.inverted


def test_a_run_that_is_loaded_computes_what_was_trained(digits_run: Path) -> None:
    run = load_run(digits_run)
    assert run.epochs == 12 and not run.model.training and run.settings.lr == 5e-3
    best = load_run(digits_run / "best.safetensors")
    assert 1 <= best.epochs <= 12
    state = load_checkpoint(digits_run / "checkpoint.safetensors")["model"]
    for name, value in run.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name])


def test_checkpoints_that_are_none_of_ours(tmp_path: Path, digits_run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere.* does not exist: no run was saved there\. Start one with"):
        load_run(tmp_path / "nowhere")
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, {"config": {"model": "mlp"}, "model": {}, "epoch": 1})
    with pytest.raises(CheckpointError, match="was not written by minidl train, it lacks 'settings'"):
        load_run(path)
    state = load_checkpoint(digits_run / "checkpoint.safetensors")
    for change, message in (
        ({"model": "lenet7"}, "its model cannot be built again: there is no model 'lenet7'"),
        (
            {"options": {"sizes": (64, 5, 10), "hidden": "relu", "output": None}},
            "cannot be built again: the state dict",
        ),
        ({"settings": {"speed": 3}}, "it lacks .*speed"),
    ):
        save_checkpoint(path, {**state, "config": {**state["config"], **change}})
        with pytest.raises(CheckpointError, match=message):
            load_run(path)


def test_classes_that_changed_since_the_run_was_started(tmp_path: Path) -> None:
    write_folder(tmp_path / "birds", {"owl": 4, "tit": 4})
    start_run("simple_convnet", TrainConfig(data=str(tmp_path / "birds"), epochs=1), tmp_path / "r").fit(1)
    write_folder(tmp_path / "birds", {"emu": 4})
    with pytest.raises(CheckpointError, match="the classes of the data have changed since the run was started"):
        resume_run(tmp_path / "r")


# ---- answers ------------------------------------------------------------------------------------------------------


def save_png(path: Path, image: np.ndarray) -> Path:
    from PIL import Image

    Image.fromarray(image).save(path)
    return path


def digit_pictures(folder: Path, how: str) -> tuple[list[Path], np.ndarray]:
    """The first test digits as files: bright on black, or dark on paper, in colour, enlarged, with a wide border."""
    test = Digits(train=False)
    images = np.rint(test.data[:20, 0] * 255).astype(np.uint8)
    folder.mkdir()
    paths = []
    for i, image in enumerate(images):
        if how != "as they are":
            image = np.kron(image, np.ones((9, 9), np.uint8))
        if how == "paper":
            image = np.stack([255 - image] * 3, axis=2)
        if how == "wide":
            image = np.pad(image, ((0, 0), (30, 30)))
        paths.append(save_png(folder / f"{i}.png", image))
    return paths, test.targets[:20]


@pytest.mark.parametrize("how", ["as they are", "large", "paper"])
def test_digits_in_files_are_recognised(tmp_path: Path, digits_run: Path, how: str) -> None:
    paths, labels = digit_pictures(tmp_path / "pictures", how)
    answers = predict(load_run(digits_run), paths)
    assert [a.path for a in answers] == paths
    right = sum(a.ranking[0][0] == str(label) for a, label in zip(answers, labels))
    assert right >= 18
    assert {a.inverted for a in answers} == {how == "paper"}
    for answer in answers:
        probabilities = [p for _, p in answer.ranking]
        assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_as_they_are_the_answers_are_those_of_the_test_part(tmp_path: Path, digits_run: Path) -> None:
    """An 8x8 file goes through the same steps as the data set, but for the rounding to 256 levels."""
    from minidl.train import load_task

    paths, _ = digit_pictures(tmp_path / "pictures", "as they are")
    run = load_run(digits_run)
    task = load_task("digits", (1, 8, 8), statistics=run.statistics)
    x = minidl.tensor(np.stack([task.test[i][0] for i in range(20)]))
    expected = run.model(x).softmax(1).detach().numpy()
    for answer, row in zip(predict(run, paths), expected):
        np.testing.assert_allclose([p for _, p in answer.ranking], sorted(row, reverse=True), atol=0.02)


def test_inverting_can_be_asked_for_and_forbidden(tmp_path: Path, digits_run: Path) -> None:
    paths, _ = digit_pictures(tmp_path / "pictures", "paper")
    run = load_run(digits_run)
    asked, forbidden = (predict(run, paths[:1], invert=value)[0] for value in (True, False))
    assert asked.ranking == predict(run, paths[:1])[0].ranking and asked.inverted and not forbidden.inverted
    assert forbidden.ranking != asked.ranking


def test_ink_on_a_transparent_ground_is_ink_on_paper(tmp_path: Path, digits_run: Path) -> None:
    """Drawing programs save black ink on a ground that is black, too, but for its transparency."""
    from PIL import Image

    paths, _ = digit_pictures(tmp_path / "pictures", "paper")
    with Image.open(paths[4]) as image:
        ink = 255 - np.array(image.convert("L"))
    drawing = np.zeros((*ink.shape, 4), np.uint8)
    drawing[..., 3] = ink
    run = load_run(digits_run)
    on_paper, transparent = predict(run, [paths[4], save_png(tmp_path / "drawing.png", drawing)])
    assert transparent.ranking == on_paper.ranking and transparent.inverted


def test_a_wide_image_is_not_squeezed(tmp_path: Path, digits_run: Path) -> None:
    from minidl.train.answers import _fit

    image = np.full((1, 10, 40), 200, np.uint8)
    fitted = _fit(image, (28, 28))
    rows = np.flatnonzero(fitted[0].any(1))
    assert fitted.shape == (1, 28, 28) and (rows[0], rows[-1]) == (10, 16) and fitted[0, 12].all()


def test_files_that_are_no_images(tmp_path: Path, digits_run: Path) -> None:
    run = load_run(digits_run)
    good = save_png(tmp_path / "good.png", np.zeros((9, 9), np.uint8))
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:40])
    with pytest.raises(DataError, match=r"bad\.png: the image cannot be read"):
        predict(run, [good, bad])
    with pytest.raises(FileNotFoundError, match="missing"):
        predict(run, [tmp_path / "missing.png"])
    assert predict(run, []) == []


def test_mnist_images_are_padded_like_the_data(tmp_path: Path) -> None:
    images = write_mnist(tmp_path)
    start_run("lenet5", TrainConfig(data="mnist", data_dir=str(tmp_path), epochs=1), tmp_path / "r").fit(1)
    run = load_run(tmp_path / "r")
    from minidl.train.answers import prepare_image
    from minidl.train.tasks import load_task

    prepared, _ = prepare_image(save_png(tmp_path / "third.png", images[3]), run, invert=False)
    task = load_task("mnist", (1, 32, 32), data_dir=str(tmp_path), statistics=run.statistics)
    np.testing.assert_array_equal(prepared, task.test[3][0])


def test_the_number_of_threads_changes_no_bit(tmp_path: Path) -> None:
    from minidl.kernels.threads import available_cpus, get_num_threads, set_num_threads

    if available_cpus() < 2:
        pytest.skip("one CPU")
    before = get_num_threads()
    weights = []
    try:
        for threads in (1, 2):
            set_num_threads(threads)
            run = start_run("lenet5", TrainConfig(epochs=1, batch_size=128), tmp_path / str(threads))
            run.fit(1)
            weights.append({name: t.numpy().tobytes() for name, t in run.model.state_dict().items()})
    finally:
        set_num_threads(before)
    assert weights[0] == weights[1]
