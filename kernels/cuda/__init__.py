"""Kernels written in CUDA C++, for arrays of CuPy.

The sources (``*.cu`` and what they include, ``*.cuh``) are compiled when they are first used, by CuPy through NVRTC
(``source.py``); nothing here is compiled when minidl is installed, and nothing imports CuPy.  Beside each source
stands a module of the same name with the passes, which prepares arguments and launches.  docs/cuda.md explains them.
"""
