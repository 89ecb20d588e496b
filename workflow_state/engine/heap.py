"""Bounding the memory that the C library keeps of what a worker has freed."""

import ctypes
import os

# Of malloc.h.
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_MMAP_THRESHOLD_BYTES = 512 * 2**10
_MOST_ARENAS = 2


def bound_heap() -> None:
    """Have glibc give large buffers back at once, and keep two arenas; do nothing where there is no glibc.

    Otherwise each thread keeps an arena of its own, and after the first answer of megabytes such buffers stand in the
    arenas too: four times four large answers took a worker to 480 MB, and take it to 310 MB so. Who sets glibc's
    variables (`MALLOC_ARENA_MAX`, …) has said otherwise.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _MOST_ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
