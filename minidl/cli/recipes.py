"""``minidl recipes``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(recipes)


def recipes(filter: str = "", *, json: bool = False) -> None:
    """List how the papers trained their networks; minidl train NAME --recipe paper does the same, with the differences
    that are named: what the paper does, and what happens here.

    Parameters
    ----------
    filter
        Part of the models' names.
    json
        All there is to know, as JSON.
    """
    import dataclasses
    from json import dumps

    from rich.console import Console

    import minidl.models  # noqa: F401  it puts the networks on the list that names are looked up in
    from minidl.models.recipes import RECIPES, UnknownRecipeError, all_recipes

    found = {name: recipe for name, recipe in all_recipes() if filter in name}
    if not found:
        raise UnknownRecipeError(f"no model with {filter!r} in its name has a recipe; `minidl recipes` lists all")
    if json:
        print(dumps({name: dataclasses.asdict(recipe) for name, recipe in found.items()}, indent=2))
        return
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for recipe in RECIPES:
        names = [name for name, own in found.items() if own is recipe]
        if names:
            console.print(", ".join(names), style="bold")
            console.print(f"  {recipe}")
            console.print(f"  {recipe.source}" + (f"; {recipe.notes}" if recipe.notes else ""), style="dim")
            if recipe.differs:
                console.print(f"  not as in the paper: {recipe.differs}", style="dim")
