"""What a compiled program does each time, read from its text: kernels, the bytes they move, and FLOPs of matmuls.

The text is XLA's optimized HLO. A kernel is an instruction that the device launches: a fusion, a matmul, a copy, a
reduction. Its bytes are those of its operands and its results, each once: what stays in a cache is not known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BYTES = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2,
    "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
FREE = {  # no kernel: names of what is there, or of nothing
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id",
    "copy-done", "slice-done", "async-done", "opt-barrier",
}  # fmt: skip
TRANSFERS = {"copy-start", "slice-start"}  # of a TPU, between its memory and the chip, beside its kernels
CALLS = {"call", "async-start"}  # what they call is launched
HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .+ \{")
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.+)")
SHAPE = re.compile(r"(\w+)\[([\d,]*)\](\{[^}]*\})?")
OPERAND = re.compile(r"%([\w.\-]+)")
CALLED = re.compile(r"(?:calls|to_apply|called_computation)=%?([\w.\-]+)")
SAID = re.compile(r"\\22flops\\22: \\22(\d+)\\22, \\22numbers\\22: \\22(\d+)\\22")  # JSON, with its quotes in hex
NEAR = re.compile(r"S\([1-9]\)")  # of a layout: on the chip


@dataclass(frozen=True)
class Instruction:
    """A line of a computation. shape: the text of its type; rest: what follows the operands."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    rest: str

    @property
    def called(self) -> str | None:
        match = CALLED.search(self.rest)
        return match[1] if match else None

    @property
    def trips(self) -> int | None:
        """Of a loop, how often it goes round; None: that is not known before it runs."""
        match = re.search(r'known_trip_count":\{"n":"(\d+)"', self.rest)
        return int(match[1]) if match else None

    @property
    def op_name(self) -> str:
        """Where in the traced program it comes from."""
        match = re.search(r'op_name="([^"]*)"', self.rest)
        return match[1] if match else ""


Computation = dict[str, Instruction]


@dataclass(frozen=True)
class Cost:
    """Of what is done once."""

    kernels: float = 0.0
    bytes: float = 0.0
    flops: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.kernels + other.kernels, self.bytes + other.bytes, self.flops + other.flops)

    def __mul__(self, share: float) -> Cost:
        return Cost(self.kernels * share, self.bytes * share, self.flops * share)


def parse(text: str) -> dict[str, Computation]:
    """name -> computation."""
    computations: dict[str, Computation] = {}
    current: Computation | None = None
    for line in text.splitlines():
        head = HEAD.match(line)
        if head:
            current = computations.setdefault(head[2], {})
        elif line.startswith("}"):
            current = None
        elif current is not None and (match := INSTRUCTION.match(line)):
            current[match[1]] = _instruction(match[1], match[2])
    return computations


def _instruction(name: str, text: str) -> Instruction:
    shape, text = _until_balanced(text) if text.startswith("(") else text.split(" ", 1)
    opcode, rest = text.strip().split("(", 1)
    operands, rest = _until_balanced(f"({rest}")
    return Instruction(name, shape, opcode, tuple(OPERAND.findall(operands)), rest)


def _until_balanced(text: str) -> tuple[str, str]:
    """Up to the parenthesis that closes the first, and the rest."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[: at + 1], text[at + 1 :]
    raise ValueError("a parenthesis is not closed")


def loop_body(computations: Mapping[str, Computation]) -> str:
    """The name of the body of the largest loop, which is that over steps. Raises ValueError where there is none."""
    loops = [line for computation in computations.values() for line in computation.values() if line.opcode == "while"]
    bodies = [bodies_of(line)[0] for line in loops]
    if not bodies:
        raise ValueError("the program has no loop")
    return max(bodies, key=lambda body: len(computations[body]))


def cost_of(computations: Mapping[str, Computation], name: str, rates: Mapping[str, float]) -> Cost:
    """Of one time through a computation.

    rates: a part of the name of a branch -> the share of times that it is taken; of other branches the dearest counts.
    """
    total = Cost()
    computation = computations[name]
    for line in computation.values():
        total += _cost_of_line(computations, computation, line, rates)
    return total


def _cost_of_line(
    computations: Mapping[str, Computation], computation: Computation, line: Instruction, rates: Mapping[str, float]
) -> Cost:
    if line.opcode in FREE:
        return Cost()
    if line.opcode == "conditional":
        branches = [cost_of(computations, branch, rates) for branch in branches_of(line)]
        dearest = max(branches, key=lambda cost: cost.bytes)
        return dearest * rate_of(line, rates)
    if line.opcode == "while":
        return cost_of(computations, bodies_of(line)[0], rates) * (line.trips or 1)
    if line.opcode in CALLS and line.called and line.called in computations:
        return cost_of(computations, line.called, rates)
    if line.opcode in TRANSFERS:
        return Cost(0.0, _transferred(line.shape))
    read = sum(size_of(computation[operand].shape) for operand in line.operands if operand in computation)
    flops = sum(_matmuls(computations, computation, line))
    return Cost(1.0, read + size_of(line.shape), flops)


def reached(computations: Mapping[str, Computation], name: str) -> Iterator[Instruction]:
    """All that one time through a computation may do, within branches, loops and kernels too."""
    for line in computations[name].values():
        yield line
        inner = [line.called] if line.called else []
        if line.opcode == "conditional":
            inner += branches_of(line)
        if line.opcode == "while":
            inner += bodies_of(line)
        for called in inner:
            if called in computations:
                yield from reached(computations, called)


def bodies_of(line: Instruction) -> list[str]:
    """Of a loop what it repeats, and what it asks before."""
    return [match[1] for word in ("body", "condition") if (match := re.search(rf"{word}=%?([\w.\-]+)", line.rest))]


def branches_of(line: Instruction) -> list[str]:
    listed = re.search(r"branch_computations=\{([^}]*)\}", line.rest)
    if listed:
        return OPERAND.findall(listed[1]) or [name.strip() for name in listed[1].split(",")]
    return re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", line.rest)


def rate_of(line: Instruction, rates: Mapping[str, float]) -> float:
    return next((rate for part, rate in rates.items() if part in line.op_name), 1.0)


def size_of(shape: str) -> float:
    """Bytes of a type, of a tuple those of all; without what lies on the chip."""
    found = SHAPE.finditer(shape)
    return sum(BYTES.get(one[1], 0) * _count(one[2]) for one in found if not NEAR.search(one[3] or ""))


def _transferred(shape: str) -> float:
    """Bytes in memory that a transfer reads or writes; shape: of a tuple whose first two are its ends."""
    ends = list(SHAPE.finditer(shape))[:2]
    moved = min(BYTES.get(end[1], 0) * _count(end[2]) for end in ends)
    return moved * sum(not NEAR.search(end[3] or "") for end in ends)


def _count(dimensions: str) -> int:
    return math.prod(map(int, dimensions.split(","))) if dimensions else 1


def _matmuls(computations: Mapping[str, Computation], computation: Computation, line: Instruction) -> Iterator[float]:
    """FLOPs of each matmul in a kernel: twice the multiply-adds, however many passes it takes."""
    if line.opcode == "dot":
        yield _dot_flops(computation, line)
    elif line.opcode == "convolution":  # what a TPU's matmuls are
        yield _convolution_flops(computation, line)
    elif line.opcode == "custom-call":
        yield _said_flops(line)
    elif line.called and line.called in computations:
        inner = computations[line.called]
        for each in inner.values():
            yield from _matmuls(computations, inner, each)


def _said_flops(line: Instruction) -> float:
    """What a kernel of Pallas's says of itself: for a TPU of all lanes; for a GPU of one, beside the numbers of its
    first result."""
    if of_all := re.search(r'"cost_estimate":\{"flops":"(\d+)"', line.rest):
        return float(of_all[1])
    of_one, first = SAID.search(line.rest), SHAPE.search(line.shape)
    return float(of_one[1]) * _count(first[2]) / float(of_one[2]) if of_one and first else 0.0


def _dot_flops(computation: Computation, line: Instruction) -> float:
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line.rest)
    left = SHAPE.search(computation[line.operands[0]].shape)
    out = SHAPE.search(line.shape)
    if not (contracted and left and out):
        return 0.0
    sizes = [int(size) for size in left[2].split(",") if size]
    along = [int(axis) for axis in contracted[1].split(",") if axis]
    return 2.0 * _count(out[2]) * math.prod(sizes[axis] for axis in along)


def _convolution_flops(computation: Computation, line: Instruction) -> float:
    """Of a matmul in the form of one: in a batched one the window runs over the batch, of which each result meets one
    place."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", line.rest)
    kernel, out = SHAPE.search(computation[line.operands[1]].shape), SHAPE.search(line.shape)
    if not (labels and kernel and out):
        return 0.0
    sizes = dict(zip(labels[2], [int(size) for size in kernel[2].split(",") if size], strict=False))
    return 2.0 * _count(out[2]) * sizes.get("i", 1)
