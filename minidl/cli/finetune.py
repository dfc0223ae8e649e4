"""``minidl finetune``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from minidl.cli.train import _settings_file, run_training
from minidl.train.config import TrainConfig
from minidl.train.errors import TrainingError

if TYPE_CHECKING:
    import cyclopts

_DEFAULTS = TrainConfig(
    epochs=20, batch_size=32, optimizer="sgd", lr=1e-3, head_lr=1e-2, momentum=0.9, weight_decay=1e-4, schedule="cosine"
)
# a linear classifier is quick to learn, and has too few parameters to gain by images that are no longer like the test's
_LINEAR = replace(_DEFAULTS, head_lr=0.1, augment="none")


def register(app: "cyclopts.App") -> None:
    app.command(finetune, config=(_settings_file,))


def finetune(
    model: str | None = None,
    *,
    settings: Annotated[TrainConfig | None, Parameter(name="*")] = None,
    resume: Path | None = None,
    out: Path | None = None,
    config: Path | None = None,
    download: bool = False,
    workers: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    graph: bool = False,
    save_every: float = 60.0,
) -> None:
    """Train a model on from weights: minidl finetune resnet18 --weights FILE --data folder:PATH --freeze-until layer4.

    The last layer is new, for the classes of the data; --weights is a file of weights, the folder of a run, or a name
    of minidl weights list, such as resnet18.v1, which is fetched if it is not in the cache. Little data: --features
    layer3 learns a linear classifier on a layer's features, --freeze-until fc on the last ones. More: --freeze-until
    layer4 fine-tunes the last stage, without it all of the network learns. The run is kept and goes on as with minidl
    train, which also explains the settings.

    Parameters
    ----------
    model
        Name of a model; minidl models lists them.
    resume
        Folder of a run to go on with, exactly where it stopped.
    out
        Folder of the run instead of runs/MODEL-DATA.
    config
        A TOML file with any of these settings: epochs = 5.
    download
        Fetch the data set if it is not there.
    workers
        Threads that read images ahead.
    threads
        Threads that compute; by default all CPUs.
    device
        Where to compute: cpu, or cuda for an NVIDIA GPU (minidl doctor says whether there is one that works).
    graph
        Record a step of the training on the CUDA device and launch it as one from then on, with the same losses: for
        small networks, whose operations take the host longer to launch than the device to compute.
    save_every
        Seconds between two checkpoints inside an epoch; there is one after each epoch as well.
    """
    settings = settings or TrainConfig()
    if resume is None:
        if settings.weights is None:
            raise TrainingError(
                "finetune begins with weights: --weights FILE, the folder of a run, or a name of `minidl weights list`"
            )
        settings = settings.over(_LINEAR if settings.features else _DEFAULTS)
    run_training(
        "finetune", model, settings, resume, out, download, workers, threads, device, graph, save_every,
        begun=lambda: _tell_of_options(model or "", settings),
    )  # fmt: skip


def _tell_of_options(model: str, settings: TrainConfig) -> None:
    """Say which options the usual public weights want, where a file may hold their arrays and nothing tells."""
    import sys

    from minidl.io import WeightsError, read_metadata
    from minidl.models import weights
    from minidl.train.checkpoint import CHECKPOINT_KEY

    file = Path(settings.weights or "")
    try:
        told = not file.is_file() or weights.source_of(file)[0] or CHECKPOINT_KEY in read_metadata(file)
    except WeightsError:  # whoever reads the arrays says what is wrong
        return
    for entry in () if told else weights.table().get(model, [])[:1]:
        missing = {name: value for name, value in entry.options.items() if name not in settings.options}
        if missing:
            wants = ", ".join(f"{name} = {value}" for name, value in entry.options.items())
            add = " ".join(f"--options.{name} {value}" for name, value in missing.items())
            print(
                f"minidl: {file} is no file of `minidl weights list`; if its arrays are those of {entry.name}, which "
                f"wants {wants}, add {add}",
                file=sys.stderr,
            )
