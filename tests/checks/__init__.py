"""Checks that the tests, the mutation run and the documentation's evidence tables share.

A check is a plain function that raises AssertionError with the worst element in its message.  It reaches the
code under test only through public entries (``minidl.kernels.conv``, the catalogue), so that a bug injected
there by ``tests.mutation`` is seen by the very same lines that pytest runs.
"""
