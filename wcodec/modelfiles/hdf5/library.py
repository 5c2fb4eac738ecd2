"""h5py, without the process that its import starts: it asks for all names of the machine (`platform.uname`), and the
standard library finds that of the processor by `uname -p`, which takes 7 ms.
"""

from __future__ import annotations

import platform

_names = vars(platform.uname())
_unknown = "processor" not in _names
if _unknown:
    _names["processor"] = ""

import h5py
from h5py import h5, h5a, h5d, h5f, h5fd, h5g, h5l, h5o, h5p, h5s, h5t, h5z

if _unknown:
    del _names["processor"]

__all__ = ["h5", "h5a", "h5d", "h5f", "h5fd", "h5g", "h5l", "h5o", "h5p", "h5py", "h5s", "h5t", "h5z"]
