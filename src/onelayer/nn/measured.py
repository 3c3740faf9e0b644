"""What was measured of this machine, kept: a run repeated on a busier day is to choose the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress

import torch

from onelayer import digest
from onelayer.nn.kernels import cache_home, processor


def remembered(what: str, measure: Callable[[], float]) -> float:
    """The figure as it was first measured on this machine with this torch, or as it is now."""
    facts = json.dumps([what, torch.__version__, processor(), torch.get_num_threads()])
    path = cache_home() / f"measured-{digest.of_text(facts)[:16]}.json"
    with suppress(OSError, ValueError, TypeError):
        return float(json.loads(path.read_text(encoding="utf-8")))
    figure = measure()
    with suppress(OSError):  # a machine without a home measures every time
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(f".{os.getpid()}")
        staged.write_text(json.dumps(figure), encoding="utf-8")
        with suppress(FileExistsError):  # another process was first: what it found holds
            os.link(staged, path)
        staged.unlink()
    return figure
