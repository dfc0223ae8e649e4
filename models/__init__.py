"""Model zoo: one file per paper, each reading like the paper's table."""

if __name__ != "minidl.models":  # `import models` from the checkout root would load every module twice
    raise ImportError("import minidl.models, not models")
