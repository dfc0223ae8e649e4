"""What can go wrong in a training run, each with a sentence that says how to go on."""


class TrainingError(RuntimeError):
    """The run cannot go on: a loss that is not a number, or settings that do not fit each other.

    >>> import pathlib, tempfile
    >>> from minidl.train import new_run_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pathlib.Path(folder, "checkpoint.safetensors").touch()
    ...     try:
    ...         new_run_folder(folder, "lenet5", "digits")
    ...     except TrainingError as error:
    ...         print("holds a run already" in str(error))
    True
    """


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or belongs to another model, optimiser or data set.

    >>> from minidl.train import load_run
    >>> try:
    ...     load_run("nowhere")
    ... except CheckpointError as error:
    ...     print(error)
    nowhere does not exist: no run was saved there. Start one with: minidl train MODEL
    """


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user, after its state was saved; the message says how to continue.

    >>> try:
    ...     raise Interrupted("stopped after epoch 2; go on with: minidl train --resume runs/x")
    ... except KeyboardInterrupt as error:
    ...     print(error)
    stopped after epoch 2; go on with: minidl train --resume runs/x
    """
