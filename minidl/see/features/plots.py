"""Curves and surfaces by matplotlib, as pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from ...train.plots import blank_figure
from .picture import heat_map

if TYPE_CHECKING:
    from .field import ReceptiveField
    from .shifting import Shifting
    from .surface import Surface


_NAMES = 28  # of layers in a legend, at most


def _pixels(drawn: Any, dpi: int = 100) -> np.ndarray:
    """A figure as a picture (H, W, 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    drawn.savefig(buffer, dpi=dpi, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


def curve(surface: Surface) -> np.ndarray:
    """The loss along one direction."""
    drawn = blank_figure(5.2, 3.4)
    axes = drawn.subplots()
    axes.plot(surface.steps, surface.losses)
    axes.plot([0], [surface.centre], "o", color="black", markersize=4)
    axes.set(xlabel="step along the direction", ylabel="loss", title=surface.title)
    axes.grid(alpha=0.3)
    return _pixels(drawn)


def landscape(surface: Surface) -> np.ndarray:
    """The loss over two directions: contours, and seen from the side."""
    drawn = blank_figure(8.2, 3.8)
    flat = drawn.add_subplot(1, 2, 1)
    finite = np.where(np.isfinite(surface.losses), surface.losses, np.nan)
    low, high = np.nanmin(finite), np.nanmax(finite)
    positive = low > 0
    edges = np.geomspace(low, high, 18) if positive and high > low else np.linspace(low, high + 1e-12, 18)
    lines = flat.contour(surface.steps, surface.steps, finite.T, levels=edges, cmap="viridis", linewidths=1.1)
    flat.clabel(lines, lines.levels[::3], fontsize=7, fmt="%.2g")
    flat.plot([0], [0], "o", color="black", markersize=4)
    flat.locator_params(nbins=5)
    flat.set(xlabel="first direction", ylabel="second direction", title=surface.title, aspect="equal")
    side = drawn.add_subplot(1, 2, 2, projection="3d")
    a, b = np.meshgrid(surface.steps, surface.steps, indexing="ij")
    height = np.log10(finite) if positive else finite
    side.plot_surface(a, b, height, cmap="viridis", linewidth=0.2, edgecolor="black", rstride=1, cstride=1)
    side.set_box_aspect(None, zoom=0.82)  # room for the words beside it
    side.set(zlabel="log10 of the loss" if positive else "loss", xlabel="first", ylabel="second")
    return _pixels(drawn, 90)


def receptive_field(found: ReceptiveField) -> np.ndarray:
    """The effective field with the theoretical box, and both along the row in the middle of the box."""
    drawn = blank_figure(8.6, 3.8)
    left, right = drawn.subplots(1, 2)
    rows, columns = found.box
    left.imshow(heat_map(found.effect, 1), interpolation="nearest", extent=_extent(found.effect.shape))
    corner = (columns.start - 0.5, rows.start - 0.5)
    left.add_patch(_rectangle(corner, len(columns), len(rows)))
    h, w = found.effect.shape
    left.set(
        xlabel="column",
        ylabel="row",
        xlim=(-0.5, w - 0.5),
        ylim=(h - 0.5, -0.5),
        title=f"{found.sight.layer} at {found.position}",
    )
    profile = found.effect.sum(0)
    right.plot(range(w), profile / (profile.max() or 1.0), drawstyle="steps-mid", label="effect, summed over rows")
    right.axvspan(columns.start - 0.5, columns.stop - 0.5, color="tab:green", alpha=0.15, label="theoretical field")
    right.set(
        xlabel="column", xlim=(-0.5, w - 0.5), title=f"{found.size[1]} in theory, {found.effective_size:.1f} in effect"
    )
    right.legend(fontsize=8)
    right.grid(alpha=0.3)
    return _pixels(drawn)


def _extent(shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    return -0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5


def _rectangle(corner: tuple[float, float], width: int, height: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, fill=False, edgecolor="lime", linewidth=1.5)


def shifting(found: Shifting) -> np.ndarray:
    """How far each layer is from having moved along, and from having stayed."""
    from matplotlib import colormaps

    count = len(found.layers)
    deep = count > 10  # then one list beside both, coloured by depth, names at even distances
    drawn = blank_figure(12.0 if deep else 9.6, 5.6 if deep else 3.9)
    left, right = drawn.subplots(1, 2)
    for number, layer in enumerate(found.layers):
        name = f"{layer.name}, step {layer.jump}" if layer.jump else layer.name
        style = {"marker": "o", "markersize": 3, **({"color": colormaps["viridis"](number / count)} if deep else {})}
        if not np.isnan(layer.equivariance).all():
            left.plot(found.shifts, layer.equivariance, label=name, **style)
        right.plot(found.shifts, layer.change, label=name if deep else layer.name, **style)
    left.set(title="does it follow? distance from the shifted maps", xlabel="pixels that the image moves")
    right.set(title="does it stay? distance from the old maps", xlabel="pixels that the image moves")
    for axes in (left, right):
        axes.set_ylim(bottom=-0.02)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if not deep:
            axes.legend(fontsize=7)
    if deep:
        handles, names = right.get_legend_handles_labels()
        every = -(-count // _NAMES)
        drawn.legend(handles[::every], names[::every], loc="outside right center", fontsize=7)
    return _pixels(drawn)
