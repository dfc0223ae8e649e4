"""Speed against PyTorch on the same machine: see README.md beside this file.

Nothing of minidl is imported here, because the process that measures PyTorch must not have it (see ``conv.py``).
"""

import os

AS_STARTED = dict(os.environ)
"""The environment before anything was imported: what a side's process gets.

Libraries set variables for themselves, and a child would inherit them.  ``OMP_WAIT_POLICY`` alone, left to PyTorch by
mistake, doubled the time that it took for one image.
"""
