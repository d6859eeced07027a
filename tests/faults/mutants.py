"""Damaged copies of the bytes of a file, each with one fault of the kinds that disks make."""

import random


def mutants(content, count, seed=0):
    """Yield ``count`` pairs of the name of a fault and the damaged bytes, all unlike ``content``.

    The faults take turns: truncated, one bit flipped, 16 or 64 random bytes, a page of zeros,
    bytes that are missing, bytes twice, two blocks exchanged, bytes added behind the end.
    """
    rng = random.Random(seed)
    made = 0
    while made < count:
        name, fault = FAULTS[made % len(FAULTS)]
        damaged = fault(bytearray(content), rng)
        if damaged != content:
            yield name, bytes(damaged)
            made += 1


def _truncated(data, rng):
    return data[: rng.randrange(len(data))]


def _flipped(data, rng):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _overwritten(size):
    def fault(data, rng):
        start = rng.randrange(len(data))
        end = min(len(data), start + size)
        data[start:end] = rng.randbytes(end - start)
        return data

    return fault


def _zeroed(data, rng):
    size = rng.choice([512, 4096])
    start = rng.randrange(len(data)) // 512 * 512
    end = min(len(data), start + size)
    data[start:end] = bytes(end - start)
    return data


def _missing(data, rng):
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 64)]
    return data


def _twice(data, rng):
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randint(1, 64)]
    return data


def _exchanged(data, rng):
    size = min(rng.randint(1, 256), len(data) // 2)
    a = rng.randrange(len(data) - 2 * size + 1)
    b = rng.randrange(a + size, len(data) - size + 1)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def _longer(data, rng):
    return data + rng.randbytes(rng.randint(1, 64))


FAULTS = [
    ("truncated", _truncated),
    ("bit flipped", _flipped),
    ("16 random bytes", _overwritten(16)),
    ("64 random bytes", _overwritten(64)),
    ("zeroed page", _zeroed),
    ("bytes missing", _missing),
    ("bytes twice", _twice),
    ("blocks exchanged", _exchanged),
    ("bytes added", _longer),
]
