"""See: explain any number of a run, forward and backward; step, compare, and look at algorithms, windows and bugs.

``trace`` records a run; everything else here asks it questions.  Answers are dataclasses with ``to_dict()``; ``print``
and a notebook show one as text, Python's prompt its first line.
"""

from . import features
from .algorithm_picture import Intermediates
from .algorithm_table import Row, Steps, Table, algorithms
from .breaking import Broken, Finding, break_it
from .bug_list import Bug, bugs
from .chains import Chain, Link, chain
from .compare import Difference, Parting, diff
from .errors import SeeError
from .explain import Scattered, Sent, explain, explain_grad, explain_registry, scatter
from .report import report
from .report.notebook import widget
from .step import Stepped, Stepper
from .terms import Column, Explanation, Factor, Step, Term, Terms
from .trace import Record, Trace, Value, trace
from .update import explain_update
from .windows import Side, Window, window

__all__ = [
    "Broken",
    "Bug",
    "Chain",
    "Column",
    "Difference",
    "Explanation",
    "Factor",
    "Finding",
    "Intermediates",
    "Link",
    "Parting",
    "Record",
    "Row",
    "Scattered",
    "SeeError",
    "Sent",
    "Side",
    "Step",
    "Stepped",
    "Stepper",
    "Steps",
    "Table",
    "Term",
    "Terms",
    "Trace",
    "Value",
    "Window",
    "algorithms",
    "break_it",
    "bugs",
    "chain",
    "diff",
    "explain",
    "explain_grad",
    "explain_registry",
    "explain_update",
    "features",
    "report",
    "scatter",
    "trace",
    "widget",
    "window",
]
