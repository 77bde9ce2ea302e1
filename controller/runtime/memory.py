"""The C library's allocator, told that this process lives for months and wants to stay as large as it is.

glibc gives every thread a heap of its own and lets the sizes it keeps grow with what was freed. Here a few threads hand
what one made to another, which frees it: each heap fills with holes of the others' making. One heap and fixed sizes
leave a quarter of the holes (docs/results.md, the soak).
"""

from __future__ import annotations

import ctypes

ARENA_MAX, TRIM_THRESHOLD, MMAP_THRESHOLD = -8, -1, -3  # malloc.h's numbers for M_ARENA_MAX and so on
KEPT_BYTES = 128 * 1024  # free memory at the end of the heap beyond which it goes back to the system
OWN_MAPPING_BYTES = 64 * 1024  # from here on a piece is mapped by itself and leaves no hole


def settle() -> bool:
    """Before the first thread starts. False where the C library has no such settings, which costs memory alone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((ARENA_MAX, 1), (TRIM_THRESHOLD, KEPT_BYTES), (MMAP_THRESHOLD, OWN_MAPPING_BYTES))
    return all(mallopt(name, value) == 1 for name, value in wanted)
