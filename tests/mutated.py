"""What happens to files between two machines, and what people do to them on purpose."""

import numpy as np


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One of the things that happen to files: bits, bytes, holes, cuts, repeats, foreign numbers."""
    data = bytearray(data)
    # mostly where the structure is: the first bytes
    limit = len(data) if rng.random() < 0.5 else min(len(data), 120)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(limit))
        kind = rng.integers(7)
        if kind == 0:
            data[at : at + 1] = bytes([data[at] ^ (1 << int(rng.integers(8)))]) if at < len(data) else b""
        elif kind == 1:
            data[at : at + 1] = rng.integers(0, 256, 1, np.uint8).tobytes()
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 9))]
        elif kind == 4:
            data[at:at] = data[at : at + int(rng.integers(1, 40))]
        elif kind == 5:
            data[at : at + 4] = (0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0)[rng.integers(4)].to_bytes(4, "big")
        else:
            data[at : at + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
        if not data:
            break
        limit = min(limit, len(data))
    return bytes(data)
