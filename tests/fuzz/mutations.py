"""Ways to damage good input; each is a function of a `random.Random`, so that a seed repeats it."""

import json

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)
FRAGMENTS = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xe2\x80\xa8",
        b"\r",
        b"\r\n",
        b"\n",
        b"\t",
    ),
    *(b"\n", b"\t", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b":", b"<", b">", b"&#0;", b"&", b"%s", b"../"),
    *(b"-1", b"NaN", b"1e999", b"null", b"true", b"9" * 5000, b"[" * 2000),
)
VALUES = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**40, -(10**40), 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "\0", "\ud800", "../x", "/etc/passwd", "x" * 10_000),
    *([], {}, [[]], {"": ""}, [None], ["x"], [1, "x"]),
)
MOST_BYTES = 1 << 20


def flip(random, data):
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def overwrite(random, data):
    start, end = _range(random, data)
    return data[:start] + random.randbytes(end - start) + data[end:]


def zero(random, data):
    start, end = _range(random, data)
    return data[:start] + bytes(end - start) + data[end:]


def cut(random, data):
    start, end = _range(random, data)
    return data[:start] + data[end:]


def truncate(random, data):
    return data[: random.randrange(len(data))]


def insert(random, data):
    place = random.randrange(len(data) + 1)
    added = random.choice(FRAGMENTS) if random.random() < 0.7 else random.randbytes(random.randint(1, 20))
    return data[:place] + added + data[place:]


def repeat(random, data):
    start, end = _range(random, data)
    return data[:end] + data[start:end] * random.choice((1, 2, 50)) + data[end:]


def move(random, data):
    start, end = _range(random, data)
    place = random.randrange(len(data) + 1)
    part, rest = data[start:end], data[:start] + data[end:]
    return rest[:place] + part + rest[place:]


def number(random, data):
    """An integer of 1, 2, 4 or 8 bytes becomes an extreme one: a length, an offset or a count, with luck."""
    size = random.choice((1, 2, 4, 8))
    place = random.randrange(max(1, len(data) - size))
    value = random.choice(EXTREMES) % 256**size
    return data[:place] + value.to_bytes(size, random.choice(("little", "big"))) + data[place + size :]


def concatenate(random, data):
    return data + random.choice(
        (data, data[: random.randrange(len(data))], random.randbytes(9), bytes(random.choice((1, 4, 8))))
    )


BYTE_MUTATIONS = (flip, overwrite, zero, cut, truncate, insert, repeat, move, number, concatenate)


def mutate_bytes(random, data):
    """`data` (bytes) after one to four mutations."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = random.choice(BYTE_MUTATIONS)(random, data)[:MOST_BYTES] if data else random.randbytes(4)
    return data


def mutate_value(random, value):
    """A value of JSON's types with one place in it replaced, removed, doubled, renamed or nested."""
    if isinstance(value, dict | list) and value and random.random() < 0.8:
        key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        changed = value.copy()
        kind = random.random()
        if kind < 0.7:
            changed[key] = mutate_value(random, value[key])
        elif kind < 0.85:
            del changed[key]
        elif isinstance(value, dict):
            changed[random.choice((f"{key}x", key.upper(), "", "\0"))] = changed.pop(key)
        else:
            changed.insert(key, random.choice((value[key], random.choice(VALUES))))
        return changed
    kind = random.random()
    if kind < 0.6:
        return random.choice(VALUES)
    if kind < 0.7:
        return [value]
    if kind < 0.8:
        return {"value": value}
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return str(value)
    if isinstance(value, str):
        return random.choice((value * 2, value[:-1], value[::-1], value.upper(), len(value), f" {value}\n"))
    return random.choice((-value, value + 1, value * 1000, float(value), str(value)))


def mutate_json(random, data):
    """JSON (bytes), or lines of JSON, changed as values; now and then as bytes, or nested beyond any parser."""
    kind = random.random()
    if kind < 0.3:
        return mutate_bytes(random, data)
    if kind < 0.34:
        depth = random.choice((500, 100_000))
        opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}")))
        return opening * depth + b"1" + closing * (depth if random.random() < 0.5 else 0)
    lines = data.decode().split("\n")
    try:
        values = [json.loads(data)]
        chosen = 0
    except ValueError:
        values = None
        chosen = random.choice([number for number, line in enumerate(lines) if line.strip()])
    if values is not None:
        return _dump(mutate_value(random, values[0]))
    lines[chosen] = _dump(mutate_value(random, json.loads(lines[chosen]))).decode()
    return "\n".join(lines).encode()


def _dump(value):
    # Lone surrogates and other odd characters are escaped, as any writer of JSON may do.
    return json.dumps(value).encode()


def _range(random, data):
    """(start, end) of a part: mostly short, now and then up to all of it."""
    start = random.randrange(len(data))
    most = len(data) - start if random.random() < 0.2 else min(len(data) - start, 16)
    return start, start + random.randint(1, most)
