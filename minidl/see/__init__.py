"""See: explain any number of a run, forward and backward; step, compare, and look at algorithms, windows and bugs.

``trace`` records a run; everything else here asks it questions.  Answers are dataclasses with ``to_dict()``; printing
one shows it as text.
"""

from .errors import SeeError
from .explain import Scattered, Sent, explain, explain_grad, explain_registry, scatter
from .terms import Column, Explanation, Factor, Step, Term, Terms
from .trace import Record, Trace, Value, trace

__all__ = [
    "Column",
    "Explanation",
    "Factor",
    "Record",
    "Scattered",
    "SeeError",
    "Sent",
    "Step",
    "Term",
    "Terms",
    "Trace",
    "Value",
    "explain",
    "explain_grad",
    "explain_registry",
    "scatter",
    "trace",
]
