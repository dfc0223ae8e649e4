"""Executable definitions: what each problem means, in plain NumPy, slow and readable."""
