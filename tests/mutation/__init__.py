"""Puts realistic bugs into the real code and asks whether the checks notice: ``python -m tests.mutation``."""
