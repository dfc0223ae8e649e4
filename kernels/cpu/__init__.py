"""CPU kernels: NumPy GEMM/FFT and Numba loops, loaded when first used."""
