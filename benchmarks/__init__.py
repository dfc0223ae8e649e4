"""Speed against PyTorch on the same machine: see README.md beside this file.

Nothing is imported here, because the process that measures PyTorch must not import minidl (see ``conv.py``).
"""
