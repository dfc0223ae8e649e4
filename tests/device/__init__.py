"""Tests on CUDA arrays: each runs with the stand-in of ``tests/standin``, and with the real CuPy where a GPU is."""
