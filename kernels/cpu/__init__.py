"""CPU kernels: NumPy's products and Numba loops, loaded when first used."""
