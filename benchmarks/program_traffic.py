"""Where a compiled step reads and writes the memory of a chip: by kind of operation, by place in the model, by array.

Then the largest arrays that it makes there, of which many share their memory one after the other.

    KERAS_BACKEND=jax infoxlm compile-step --config infoxlm_base --target tpu:v5e:2x4 --hlo step.hlo
    python benchmarks/program_traffic.py step.hlo

Counts what each operation of the program reads and writes, without arrays that the compiler keeps in a TPU's fast
memory (`S(1)` in their layout), which the count of `infoxlm compile-step` holds too. Loops count as often as they run
(the compilers count them once); of a condition the longer branch counts, which in a training step is the update.
A gather or scatter counts the whole table, although it touches some rows only.
"""

import argparse
import collections
import pathlib
import re

ARRAY = re.compile(r"\b(pred|bf16|[a-z]+\d+)\[([\d,]*)\](\{[^}]*\})?")
COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%([\w.\-]+) = (\([^=]*?\)|\S+) ([\w\-]+)\((.*)$")
COMMENT = re.compile(r"/\*.*?\*/")
# These move nothing; what is copied by the way is counted at its start.
NOTHING = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all"}
NOTHING |= {f"{name}-done" for name in ("copy", "slice", "async", "all-reduce", "all-gather")}


def array_bytes(shape, everywhere=False):
    """int: bytes of the arrays in a shape that lie in the chip's memory, or of all of them."""
    total = 0
    for kind, dimensions, layout in ARRAY.findall(shape):
        if everywhere or "S(1)" not in layout:
            bits = {"pred": 8, "bf16": 16}.get(kind) or int(re.findall(r"\d+", kind)[0])
            count = 1
            for size in filter(None, dimensions.split(",")):
                count *= int(size)
            total += count * bits // 8
    return total


def computations(text):
    """(name of the entry, {name: lines of its instructions}) of a program's text."""
    found, entry, name = {}, None, None
    for line in COMMENT.sub("", text).splitlines():
        match = COMPUTATION.match(line)
        if match:
            name = match[2]
            entry = name if match[1] else entry
            found[name] = []
        elif name is not None and " = " in line:
            found[name].append(line)
    return entry, found


def runs_of_loop(condition):
    """int: how often a loop runs whose condition compares a counter with a constant; 1 if it is another one."""
    limits = [int(number) for line in condition for number in re.findall(r"s32\[\]\S* constant\((\d+)\)", line)]
    return limits[0] if len(limits) == 1 and any("direction=LT" in line for line in condition) else 1


def operations(text):
    """Yields (bytes, kind, shape, place in the code) of all operations of a program, each time that it runs."""
    entry, found = computations(text)

    def walk(name, times):
        sizes = {}
        for line in found[name]:
            match = INSTRUCTION.match(line)
            if match is None:
                continue
            result, shape, kind, rest = match.groups()
            sizes[result] = array_bytes(shape)
            if kind == "while":
                body, condition = (re.search(rf"{part}=%?([\w.\-]+)", rest)[1] for part in ("body", "condition"))
                yield from walk(body, times * runs_of_loop(found[condition]))
            elif kind == "conditional":
                branches = re.search(r"branch_computations=\{([^}]*)\}", line)
                names = re.findall(r"[\w.\-]+", branches[1]) if branches else []
                names += re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", rest)
                yield from walk(max(names, key=lambda branch: len(found[branch])), times)
            elif kind == "call":
                yield from walk(re.search(r"to_apply=%?([\w.\-]+)", rest)[1], times)
            elif kind not in NOTHING:
                operands = [sizes.get(name, 0) for name in re.findall(r"%([\w.\-]+)", rest.split("), ")[0])]
                if kind == "dynamic-update-slice":  # in place
                    moved = 2 * operands[1]
                elif kind == "copy-start":  # its shape holds what is written, and what is read
                    moved = sizes[result]
                elif kind == "slice-start":  # ((whole), part, counter)
                    part = shape[shape.index(")") + 1 :].partition("s32[]")[0]
                    moved = array_bytes(part) + array_bytes(part, everywhere=True)
                else:
                    moved = sizes[result] + sum(operands)
                place = re.search(r'op_name="([^"]*)"', line)
                yield moved * times, kind, shape, place[1] if place else kind

    yield from walk(entry, 1)


def place_in_model(name):
    """The place of an operation, equal for all layers, and for the forward and the backward pass."""
    name = re.sub(r"jit\(\w+\)/|transpose\(jvp\(|jvp\(|\)", "", name)
    return re.sub(r"(transformer_)?layer_\d+", "layer", name)


def largest_arrays(found):
    """List of (bytes of one, number, shape, place), the largest first, of what `operations` found."""
    # A part of a larger array, or the same array again.
    in_place = {"dynamic-update-slice", "copy-start", "slice-start", "optimization-barrier"}
    numbers = collections.Counter(
        (array_bytes(shape), ARRAY.search(shape)[0] if shape[0] != "(" else shape[:60], place_in_model(place))
        for _, kind, shape, place in found
        if kind not in in_place and ARRAY.search(shape)
    )
    return sorted(((size, number, shape, place) for (size, shape, place), number in numbers.items()), reverse=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, help="the text that infoxlm compile-step --hlo wrote")
    parser.add_argument("--rows", type=int, default=20, help="lines of each table")
    options = parser.parse_args(arguments)
    found = sorted(operations(options.program.read_text()), reverse=True)
    print(f"{sum(size for size, *_ in found) / 1e9:.1f} GB read and written in the chip's memory, one step")
    for title, column in (("kind of operation", lambda row: row[1]), ("place", lambda row: place_in_model(row[3]))):
        totals = collections.Counter()
        for row in found:
            totals[column(row)] += row[0]
        print(f"\n{'GB':>8}  {title}")
        for name, size in totals.most_common(options.rows):
            print(f"{size / 1e9:8.2f}  {name}")
    print(f"\n{'GB':>8}  the largest operations")
    for size, kind, shape, place in found[: options.rows]:
        print(f"{size / 1e9:8.2f}  {kind} {shape[:80]} {place_in_model(place)}")
    print(f"\n{'GB each':>8} {'number':>7}  the largest arrays")
    for size, number, shape, place in largest_arrays(found)[: options.rows]:
        print(f"{size / 1e9:8.2f} {number:7d}  {shape} {place}")


if __name__ == "__main__":
    main()
