"""``minidl convert``."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(convert)


def convert(source: Path, target: Path, /, *, key: str | None = None, quiet: bool = False) -> None:
    """Convert weights between PyTorch (.pth, .pt, .th), safetensors and NumPy (.npz), also from Caffe (.caffemodel).

    What is in the file is listed; nothing in it is executed. A prefix of all names from DataParallel is taken off. A
    file of minidl weights list is recognised: the new file says that it was made of it, so that minidl predict, eval
    and finetune know its options and preprocessing.

    Parameters
    ----------
    source
        A file of weights; its content says which kind it is.
    target
        The new file; the end of its name says the format: .safetensors, .npz, .pth, .pt, .th.
    key
        Which weights of a PyTorch file that holds several, such as a generator and a discriminator.
    quiet
        Print nothing.
    """
    from rich.console import Console
    from rich.table import Table

    from minidl.io import WeightsError, load_weights, save_weights
    from minidl.models.weights import CONVERTED, source_of

    known, digits = source_of(source)
    weights = known[0].arrays(source, key) if known else load_weights(source, key)
    public = ", ".join(entry.name for entry in known)
    try:
        save_weights(target, weights, dict(zip(CONVERTED, (public, digits))) if known else None)
    except TypeError as error:  # a dtype that the format lacks
        raise WeightsError(source, f"cannot become {target}: {error}") from error
    if quiet:
        return
    table = Table("name", "shape", "dtype")
    for name, array in weights.items():
        table.add_row(name, ", ".join(map(str, array.shape)) or "a number", str(array.dtype))
    console = Console()
    console.print(table)
    elements = sum(array.size for array in weights.values())
    print(f"{len(weights)} arrays, {elements:,} numbers: {source} -> {target} ({target.stat().st_size:,} bytes)")
    if weights.key:
        print(f"they were in {weights.key!r} of the file")
    if weights.prefix:
        print(f"without {weights.prefix!r}, with which all names began")
    left = sorted(set(weights.extra) - set(CONVERTED if known else ()))
    if left:
        print("left out: " + ", ".join(left))
    if known:
        print(f"it is {public} of minidl weights list, and minidl will take the new file for the same")
        if known[0].read:
            print(f"the names of the arrays are those of {known[0].model} in minidl")
