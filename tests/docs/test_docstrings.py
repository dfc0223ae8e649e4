"""Every public name says what it is, has a page, and the documentation builds."""

import importlib.util
import inspect
import os
import pkgutil
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import minidl
from tests.docs.snippets import ROOT

DOCS = runpy.run_path(str(ROOT / "docs" / "public_names.py"))
MODULES: tuple[str, ...] = DOCS["MODULES"]
public_names, own_docstring, to_rst = DOCS["public_names"], DOCS["own_docstring"], DOCS["to_rst"]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring_of_a_sentence(module: str) -> None:
    names = public_names(module)
    assert names
    silent = [name for name, value in names.items() if "." not in own_docstring(value)]
    assert not silent, f"without a sentence in their docstrings: {', '.join(silent)}"


# every name of these modules shows how it is used; the tests of minidl/ run what it shows
WITHOUT_EXAMPLES = ("minidl.models", "minidl.see", "minidl.kernels")
WITH_EXAMPLES = tuple(module for module in MODULES if not module.startswith(WITHOUT_EXAMPLES))
# a name that needs none, and why
EXCUSED = {"minidl.predict.Ranking": "another name of list[tuple[str, float]], with the docstring of list"}


def test_every_public_name_has_an_example() -> None:
    assert set(WITH_EXAMPLES) <= set(MODULES)
    bare = {
        f"{module}.{name}"
        for module in WITH_EXAMPLES
        for name, value in public_names(module).items()
        if ">>> " not in own_docstring(value)
    }
    assert bare == set(EXCUSED), "a new name shows in its docstring how it is used, a line of >>> and what it prints"


def test_a_missing_or_inherited_docstring_is_noticed() -> None:
    class Documented:
        """A sentence."""

    class Silent(Documented):
        pass

    assert own_docstring(Documented) == "A sentence."
    assert own_docstring(Silent) == ""
    assert own_docstring(minidl.kernels.catalogue.Cost).startswith("What running")


def test_every_module_has_a_page() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    directives = [line.split()[-1] for line in shown.splitlines() if line.startswith("```{public-names}")]
    assert sorted(directives) == sorted(MODULES)


def test_every_package_is_listed() -> None:
    """A new package of minidl needs a page, or a line here why not."""
    without = {
        "minidl.ops": "its functions are those of minidl and minidl.nn.functional",
        "minidl.cli": "its commands say --help",
        "minidl.kernels": "its modules have pages",
    }
    packages = {f"minidl.{info.name}" for info in pkgutil.iter_modules(minidl.__path__) if info.ispkg}
    assert packages - set(MODULES) == set(without)


def test_docstrings_become_restructured_text() -> None:
    text = """Sums |x| of (N, C, *size), ``*args``, a *loud* word and mean_.

    formula = a * b

    | a | b |
    |---|---|

    Parameters
    ----------
    x
        Values.

    >>> 2 * 3
    6"""
    lines = to_rst(inspect.cleandoc(text).splitlines())
    assert lines[0] == r"Sums \|x\| of (N, C, \*size), ``*args``, a *loud* word and mean\_."
    assert "**Parameters**" in lines and "x" in lines and "    Values." in lines
    assert "    | a | b |" in lines and ">>> 2 * 3" in lines


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    missing = [name for name in ("sphinx", "myst_parser", "furo") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f'no {", ".join(missing)}: python -m pip install -e ".[docs]" to build the documentation')
    # without what takes longer than all the rest and knows nothing of the texts: the theme of the real pages, pages of
    # our sources, links from every type in every signature
    settings = ("html_theme=basic", "extensions=myst_parser,sphinx.ext.autodoc,public_names", "autodoc_typehints=none")
    options = ["-W", "--keep-going", "-q", *(f"-D{setting}" for setting in settings)]
    command = [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(tmp_path)]
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "minidl.nn.Conv2d" in (tmp_path / "reference" / "nn.html").read_text(encoding="utf-8")
