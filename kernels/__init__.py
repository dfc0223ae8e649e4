"""Kernels: arrays in, arrays out. No Tensor and no gradient tape on this floor.

``catalogue.plan`` chooses an algorithm for a problem and can say why;
``spec/`` holds the executable definitions every kernel is tested against.
"""

if __name__ != "minidl.kernels":  # `import kernels` from the checkout root would load every module twice
    raise ImportError("import minidl.kernels, not kernels")
