"""The public names of a package, and the Sphinx directive that documents them.

A page says ``{public-names} minidl.optim`` and gets an entry for every public name, from its docstring.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import re
import types
from typing import Any

# the packages and modules that have a page in docs/reference; of a package with submodules the latter are named
MODULES = (
    "minidl",
    "minidl.autograd",
    "minidl.autograd.functional",
    "minidl.nn",
    "minidl.nn.functional",
    "minidl.nn.init",
    "minidl.nn.utils",
    "minidl.optim",
    "minidl.optim.lr_scheduler",
    "minidl.optim.swa_utils",
    "minidl.data",
    "minidl.data.transforms",
    "minidl.train",
    "minidl.amp",
    "minidl.cuda",
    "minidl.predict",
    "minidl.io",
    "minidl.models",
    "minidl.models.weights",
    "minidl.see",
    "minidl.see.features",
    "minidl.summary",
    "minidl.doctor",
    "minidl.kernels.geometry",
    "minidl.kernels.catalogue",
    "minidl.autotune",
    "minidl.kernels.conv",
    "minidl.kernels.pooling",
    "minidl.kernels.resize",
    "minidl.kernels.roi",
    "minidl.kernels.norm",
    "minidl.kernels.activation",
    "minidl.kernels.joining",
    "minidl.kernels.spec.conv",
    "minidl.kernels.spec.im2col",
    "minidl.kernels.spec.fft",
    "minidl.kernels.spec.winograd",
    "minidl.kernels.spec.pooling",
    "minidl.kernels.spec.resize",
    "minidl.kernels.spec.error_bounds",
    "minidl.kernels.threads",
    "minidl.kernels.memory",
    "minidl.kernels.jit",
    "minidl.kernels.errors",
)


@functools.cache  # every class asks all of them on which page it is
def public_names(module_name: str) -> dict[str, Any]:
    """Functions and classes that a module offers: those in ``__all__``, or else those that minidl defines in it.

    A package offers also what it takes from its own modules.
    """
    module = importlib.import_module(module_name)
    listed = getattr(module, "__all__", None)
    names = listed if listed is not None else [n for n in dir(module) if not n.startswith("_")]
    found = {}
    for name in sorted(names, key=str.lower):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType) or not callable(value) or not hasattr(value, "__qualname__"):
            continue
        home = getattr(value, "__module__", "")
        package = hasattr(module, "__path__")
        if listed is not None or home == module_name or (package and home.startswith("minidl")):
            found[name] = value
    return found


def page_of(value: Any) -> str:
    """The module on whose page a class is described; of several that offer it, the one with the longest name."""
    return max((name for name in MODULES if value in public_names(name).values()), key=len)


def own_docstring(value: Any) -> str:
    """The docstring that somebody wrote for this object; empty where it is inherited or made by ``dataclass``."""
    text = (value.__doc__ if inspect.isclass(value) else inspect.getdoc(value)) or ""
    made = dataclasses.is_dataclass(value) and text.startswith(f"{value.__name__}(")
    return "" if made else inspect.cleandoc(text)


# ---- docstrings as reStructuredText --------------------------------------------------------------------------------

# what stays as it is: ``code``, :role:`text`, `link`_ and *emphasis*
_MARKUP = re.compile(r"(``.+?``|:\w+(?::\w+)*:`[^`]+`|`[^`]+`_?|(?<![\w*])\*\w(?:[^*\n]*\w)?\*(?![\w*]))")


def _escape(text: str) -> str:
    """Stars, bars and trailing underscores are letters in our docstrings: ``(N, C, *size)``, |x|, ``mean_``."""
    parts = _MARKUP.split(text)
    parts[::2] = [re.sub(r"([*|`\\])|(?<=\w)(_)(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def to_rst(lines: list[str]) -> list[str]:
    """Our docstrings as reStructuredText: prose is escaped; indented parts and tables are shown as they stand."""
    result: list[str] = []
    paragraph: list[str] = []

    def flush() -> None:
        if paragraph:
            result.extend(_paragraph(paragraph, after_code_mark=_ends_with_mark(result)))
            result.append("")
            paragraph.clear()

    for line in lines:
        if line.strip():
            paragraph.append(line)
        else:
            flush()
    flush()
    return result


def _ends_with_mark(lines: list[str]) -> bool:
    return next((line for line in reversed(lines) if line.strip()), "").rstrip().endswith("::")


def _paragraph(lines: list[str], after_code_mark: bool) -> list[str]:
    first = lines[0]
    if first.startswith(">>>"):
        return lines
    if len(lines) > 1 and set(lines[1]) == {"-"}:  # a section in NumPy's style: names and indented texts
        return [f"**{first}**", "", *map(_escape, lines[2:])]
    columns = len(lines) > 1 and any(line.startswith("    ") for line in lines[1:]) and not first.startswith((":", "-"))
    if columns or first.startswith((" ", "|")):  # a formula, an array, a table
        margin = "" if all(line.startswith(" ") for line in lines) else "    "
        return [*([] if after_code_mark else ["::", ""]), *(margin + line for line in lines)]
    return [_escape(line) for line in lines]


# ---- Sphinx --------------------------------------------------------------------------------------------------------


def setup(app: Any) -> dict[str, bool]:
    from docutils import nodes
    from docutils.statemachine import StringList
    from sphinx.util.docutils import SphinxDirective

    class PublicNames(SphinxDirective):
        """An entry for every public name of a module, and for the public methods of its classes."""

        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            module_name = self.arguments[0]
            lines = []
            for name, value in public_names(module_name).items():
                if inspect.isclass(value) and page_of(value) != module_name:
                    lines += [f"``{name}`` is described under ``{page_of(value)}``.", ""]
                    continue
                kind = "exception" if inspect.isclass(value) and issubclass(value, BaseException) else "function"
                kind = "class" if inspect.isclass(value) and kind == "function" else kind
                members = ["   :members:"] if kind == "class" else []
                lines += [f".. auto{kind}:: {module_name}.{name}", *members, ""]
            container = nodes.container()
            text = "\n".join(lines)
            self.state.nested_parse(StringList(["```{eval-rst}", *text.splitlines(), "```"]), 0, container)
            return container.children

    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-docstring", lambda app, what, name, obj, options, lines: _process(lines))
    return {"parallel_read_safe": True}


def _process(lines: list[str]) -> None:
    lines[:] = to_rst(lines)
