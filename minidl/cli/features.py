"""``minidl features``: what a network has learnt, as pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ._features import Network

if TYPE_CHECKING:
    import cyclopts

Net = Annotated[Network | None, Parameter(name="*")]


def register(app: "cyclopts.App") -> None:
    """Add ``minidl features`` and its verbs to ``app``."""
    from cyclopts import App

    group = App(name="features", help="Pictures of what a network has learnt, and the numbers behind them.")
    for verb in (
        filters, maps, neighbours, patches, saliency, deconv, guided, gradcam, maximize, dream, occlusion, surface,
        field, effects, shift,
    ):  # fmt: skip
        group.command(verb)
    app.command(group)


def filters(
    model: str,
    *,
    layer: str | None = None,
    scale: Literal["tile", "whole"] = "tile",
    rows: int = 16,
    columns: int = 16,
    network: Net = None,
) -> None:
    """Show the filters of a layer: in colour where they see the image, otherwise one tile for each channel.

    Parameters
    ----------
    model
        Name of a model (minidl models lists them), or the folder of a training run.
    layer
        A layer, as conv2 or features.3; by default the first convolution.
    scale
        Contrast of each tile for itself, or the same for the whole.
    rows
        How many filters, where they are shown channel by channel.
    columns
        How many of their channels.
    """
    from minidl.see import features

    net = network or Network()
    seen = net.open(model)
    answer = features.filters(seen.model, layer, scale=scale, rows=rows, columns=columns, colours=seen.colours)
    net.show(answer, "filters")


def maps(
    model: str,
    *,
    layer: str,
    input: str = "random:0",
    scale: Literal["tile", "whole"] = "tile",
    limit: int = 64,
    network: Net = None,
) -> None:
    """Show the maps that a layer makes of an image.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    layer
        A layer, as conv2 or features.3.
    input
        random:SEED, digits:NUMBER, sample:china, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    scale
        Contrast of each map for itself, or the same for the whole.
    limit
        How many maps.
    """
    from minidl.see import features

    net = network or Network()
    seen = net.open(model, [input])
    net.show(features.maps(seen.model, seen.input(input)[0], layer, scale=scale, limit=limit), "maps")


def neighbours(
    model: str,
    *,
    input: Annotated[list[str], Parameter(consume_multiple=True)],
    among: str = "digits",
    layer: str | None = None,
    k: int = 5,
    metric: Literal["l2", "cosine"] = "l2",
    average: bool = True,
    limit: int = 2000,
    network: Net = None,
) -> None:
    """Find the images most like an image: by pixels, and by what a layer makes of them.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    input
        Images to compare, one or several: digits:NUMBER, test:NUMBER, image files, ...
    among
        Where to look: digits (their test part), of a run also test and train, a folder of images, or an .npy file.
    layer
        A layer, as fc1; by default what enters the layer of the scores.
    k
        How many neighbours.
    metric
        Euclidean distance, or 1 - cosine.
    average
        Of a layer with maps, compare the mean of each map instead of every position.
    limit
        Look at so many images at most.
    """
    import numpy as np

    from minidl.see import features

    net = network or Network()
    seen = net.open(model, input, among)
    queries = [seen.input(one) for one in input]
    labels = [label for _, label in queries]
    images, their_labels = seen.images(among, limit)
    known = their_labels is not None and None not in labels
    answer = features.neighbours(
        seen.model,
        np.concatenate([x for x, _ in queries]),
        images,
        layer,
        k=k,
        metric=metric,
        average=average,
        labels=their_labels if known else None,
        query_labels=labels if known else None,  # type: ignore[arg-type]
        colours=seen.colours,
        names=seen.classes,
    )
    net.show(answer, "neighbours")


def patches(
    model: str,
    *,
    unit: str,
    among: str = "digits",
    k: int = 9,
    most: int = 16,
    limit: int = 2000,
    network: Net = None,
) -> None:
    """Cut out what makes a unit answer most, exactly where it looks.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    unit
        "conv2[3]" is channel 3 of a layer, "conv2[3,5,5]" one position of it, conv2 its first channels.
    among
        Where to look: digits (their test part), of a run also test and train, a folder of images, or an .npy file.
    k
        How many patches for a unit, one of an image.
    most
        How many channels, if a whole layer is named.
    limit
        Look at so many images at most.
    """
    from minidl.see import features

    net = network or Network()
    seen = net.open(model, among=among)
    images, _ = seen.images(among, limit)
    net.show(features.patches(seen.model, images, unit, k=k, most=most, colours=seen.colours), "patches")


def _attribute(kind: str, model: str, input: str, unit: str | None, net: Network | None, **more: Any) -> None:
    from minidl.see import features

    net = net or Network()
    seen = net.open(model, [input])
    function = {
        "saliency": features.saliency, "deconv": features.deconvnet, "guided": features.guided_backprop,
        "gradcam": features.grad_cam,
    }[kind]  # fmt: skip
    answer = function(seen.model, seen.input(input)[0], unit, colours=seen.colours, names=seen.classes, **more)  # type: ignore[operator]
    net.show(answer, kind)


def saliency(model: str, *, input: str = "random:0", unit: str | None = None, network: Net = None) -> None:
    """Show how fast a score changes with each pixel (Simonyan et al. 2014).

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    input
        random:SEED, digits:NUMBER, sample:china, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    unit
        A class number, "conv2[3]" (channel 3, where it answers most) or "conv2[3,5,5]"; by default the best class.
    """
    _attribute("saliency", model, input, unit, network)


def deconv(model: str, *, input: str = "random:0", unit: str | None = None, network: Net = None) -> None:
    """Show what a unit answers to by a deconvnet: ReLU applied to the signal on its way back (Zeiler and Fergus 2014).

    Parameters
    ----------
    model
        Name of a model with ReLU, or the folder of a training run.
    input
        random:SEED, digits:NUMBER, sample:china, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    unit
        A class number, "conv2[3]" (channel 3, where it answers most) or "conv2[3,5,5]"; by default the best class.
    """
    _attribute("deconv", model, input, unit, network)


def guided(model: str, *, input: str = "random:0", unit: str | None = None, network: Net = None) -> None:
    """Show what a unit answers to by guided backpropagation (Springenberg et al. 2015).

    Parameters
    ----------
    model
        Name of a model with ReLU, or the folder of a training run.
    input
        random:SEED, digits:NUMBER, sample:china, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    unit
        A class number, "conv2[3]" (channel 3, where it answers most) or "conv2[3,5,5]"; by default the best class.
    """
    _attribute("guided", model, input, unit, network)


def gradcam(
    model: str, *, input: str = "random:0", unit: str | None = None, layer: str | None = None, network: Net = None
) -> None:
    """Show where in the image the maps of a layer speak for a class (Grad-CAM, Selvaraju et al. 2017).

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    input
        random:SEED, digits:NUMBER, sample:china, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    unit
        A class number; by default the best class.
    layer
        A layer with maps; by default the last convolution.
    """
    _attribute("gradcam", model, input, unit, network, layer=layer)


def maximize(
    model: str,
    *,
    unit: Annotated[list[str], Parameter(consume_multiple=True)],
    input: str | None = None,
    steps: int = 200,
    lr: float = 0.05,
    decay: float = 0.01,
    blur: float = 0.5,
    blur_every: int = 4,
    jitter: int = 2,
    seed: int = 0,
    network: Net = None,
) -> None:
    """Make the image that a class or a unit likes best, by gradient ascent.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    unit
        Class numbers, "conv2[3]" (the mean of a map) or "conv2[3,5,5]", one or several.
    input
        Begin with this image instead of noise.
    steps
        How many steps.
    lr
        Length of a step, as a share of the range from black to white.
    decay
        Share that each number loses in a step.
    blur
        Deviation, in pixels, of a Gaussian blur; 0 for none.
    blur_every
        Blur every so many steps.
    jitter
        Shift the image by up to so many pixels, for each gradient anew.
    seed
        Of the noise and of the shifts.
    """
    from minidl.see import features

    net = network or Network()
    seen = net.open(model, [input])
    start = None if input is None else seen.input(input)[0]
    found = [
        features.maximize(
            seen.model, one, shape=seen.input_shape, start=start, steps=steps, lr=lr, decay=decay, blur=blur,
            blur_every=blur_every, jitter=jitter, seed=seed, colours=seen.colours, names=seen.classes,
        )
        for one in unit
    ]  # fmt: skip
    net.show(found[0] if len(found) == 1 else features.Several(found), "maximize")


def dream(
    model: str,
    *,
    unit: str,
    input: str = "sample:china",
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 10,
    lr: float = 0.006,
    jitter: int = 16,
    seed: int = 0,
    network: Net = None,
) -> None:
    """Let a layer see more of what it sees in an image (DeepDream).

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    unit
        A layer, as conv2 or features.3, or a channel of it, as "conv2[3]".
    input
        sample:china, an image, random:SEED, digits:NUMBER, an .npy file; of a run also test:NUMBER and train:NUMBER.
    octaves
        How many sizes.
    ratio
        Of one size to the one before.
    steps
        At each size.
    lr
        Length of a step, as a share of the range from black to white.
    jitter
        Shift the image by up to so many pixels, for each gradient anew.
    seed
        Of the shifts.
    """
    from minidl.see import features

    net = network or Network()
    seen = net.open(model, [input])
    answer = features.dream(
        seen.model, seen.input(input)[0], unit, octaves=octaves, ratio=ratio, steps=steps, lr=lr, jitter=jitter,
        seed=seed, colours=seen.colours,
    )  # fmt: skip
    net.show(answer, "dream")


def occlusion(
    model: str,
    *,
    input: str = "random:0",
    unit: str | None = None,
    size: int = 8,
    stride: int = 4,
    value: float | None = None,
    probability: bool = False,
    network: Net = None,
) -> None:
    """Cover parts of an image one after the other and show how much of the score each is worth.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    input
        random:SEED, digits:NUMBER, sample:china, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    unit
        A class number, "conv2[3]" or "conv2[3,5,5]"; by default the best class.
    size
        Side of the square that covers.
    stride
        From one square to the next.
    value
        What the square is filled with; by default the middle between black and white.
    probability
        Of the class, instead of its score.
    """
    from minidl.see import features

    net = network or Network()
    seen = net.open(model, [input])
    answer = features.occlusion(
        seen.model, seen.input(input)[0], unit, size=size, stride=stride, value=value, probability=probability,
        colours=seen.colours, names=seen.classes,
    )  # fmt: skip
    net.show(answer, "occlusion")


def surface(
    model: str,
    *,
    among: str = "digits",
    dims: Literal[1, 2] = 2,
    points: int = 21,
    span: float = 1.0,
    seed: int = 0,
    limit: int = 200,
    network: Net = None,
) -> None:
    """Show the loss around the weights, along random directions with filters of the same lengths (Li et al. 2018).

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    among
        Labelled images: digits (their test part), of a run also test and train.
    dims
        One direction, or two.
    points
        Along each, an odd number.
    span
        How far to go; 1 is as far as the filters are long.
    seed
        Of the directions.
    limit
        How many images.
    """
    from minidl.see import SeeError, features

    net = network or Network()
    seen = net.open(model, among=among)
    images, labels = seen.images(among, limit)
    if labels is None:
        raise SeeError(f"--among {among}: a loss needs labels: digits, or test and train of a run")
    answer = features.loss_surface(
        seen.model, images, labels, dims=dims, points=points, span=span, seed=seed, title=Path(seen.name).name
    )
    net.show(answer, "surface")


def field(
    model: str,
    *,
    layer: str,
    input: str | None = None,
    among: str | None = None,
    samples: int = 16,
    seed: int = 0,
    network: Net = None,
) -> None:
    """Show the receptive field of a layer's middle unit: the box that it could see, and what it looks at in effect.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    layer
        A layer, as conv2 or features.3.
    input
        The gradients of this image instead of random ones.
    among
        The gradients of these images, as many as samples: digits, test, train, a folder, an .npy file.
    samples
        How many inputs.
    seed
        Of the random inputs.
    """
    from minidl.see import features

    net = network or Network()
    seen = net.open(model, [input], among)
    images = seen.input(input)[0] if input is not None else seen.images(among, samples)[0] if among else None
    answer = features.receptive_field(
        seen.model, layer, input_shape=seen.input_shape, images=images, samples=samples, seed=seed
    )
    net.show(answer, "field")


def effects(
    image: str = "sample:china",
    *,
    kernel: Annotated[list[str] | None, Parameter(consume_multiple=True, negative_iterable=())] = None,
    columns: int = 3,
    side: int = 320,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("effects.png"),
    json: bool = False,
) -> None:
    """Show what small kernels do to a photograph: edges, blur, sharpening, Sobel, embossing.

    Parameters
    ----------
    image
        An image file, or sample:china or sample:flower (of scikit-learn).
    kernel
        Some kernels; by default all: identity, edges, edges4, sharpen, box_blur, gaussian_blur, sobel_x, sobel_y,
        emboss.
    columns
        How many pictures stand side by side.
    side
        About how many pixels each is wide or high.
    out
        The picture to write, .png, .jpg or .webp.
    json
        Print all numbers for programs.
    """
    from minidl.data import read_image
    from minidl.see import features

    from ._features import sample_photo

    kind, _, name = image.partition(":")
    photo = sample_photo(name) if kind == "sample" else read_image(image)
    Network(out=out, json=json).show(features.effects(photo, kernel, columns=columns, side=side), "effects")


def shift(
    model: str,
    *,
    input: str = "random:0",
    layer: Annotated[list[str] | None, Parameter(consume_multiple=True, negative_iterable=())] = None,
    shifts: str = "1-8",
    axis: Literal["rows", "columns"] = "columns",
    wrap: bool = False,
    network: Net = None,
) -> None:
    """Shift an image and show which layers follow exactly, and which change little.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    input
        random:SEED, digits:NUMBER, sample:china, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    layer
        Some layers; by default all with maps, and the output.
    shifts
        By how many pixels: 1-8, or 1,2,4.
    axis
        Along the rows (down) or the columns (to the right).
    wrap
        Compare at the borders too, for networks with circular padding.
    """
    from minidl.see import features

    from ._features import whole_numbers

    net = network or Network()
    moves = whole_numbers(shifts, "--shifts")
    seen = net.open(model, [input])
    answer = features.shift(
        seen.model, seen.input(input)[0], layer, shifts=moves, axis=("rows", "columns").index(axis), wrap=wrap
    )
    net.show(answer, "shift")
