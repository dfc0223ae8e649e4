"""What can go wrong in a training run, each with a sentence that says how to go on."""


class TrainingError(RuntimeError):
    """The run cannot go on: a loss that is not a number, or settings that do not fit each other."""


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or belongs to another model, optimiser or data set."""


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user, after its state was saved; the message says how to continue."""
