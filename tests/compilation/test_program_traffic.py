"""What a compiled program reads and writes, on lines as XLA's compilers print them, counted by hand."""

import pathlib

import pytest

from benchmarks import program_traffic

# 3 runs of a loop that doubles 4 KB and writes 1 KB of it in place; a condition whose longer branch adds 4 KB twice.
PROGRAM = """HloModule step
%body (p.0: (s32[], f32[1024])) -> (s32[], f32[1024]) {
  %p.0 = (s32[]{:T(128)}, /*index=1*/f32[1024]{0:T(1024)}) parameter(0)
  %a = f32[1024]{0:T(1024)} get-tuple-element(%p.0), index=1
  %twice = f32[1024]{0:T(1024)} add(%a, %a), metadata={op_name="jit(f)/jvp(layer_3)/add"}
  %part = f32[256]{0:T(1024)S(1)} slice(%twice), slice={[0:256]}
  %row = f32[256]{0:T(1024)} copy(%part)
  %zero = s32[]{:T(128)S(1)} constant(0)
  ROOT %set = f32[1024]{0:T(1024)} dynamic-update-slice(%twice, %row, %zero)
}
%condition (p.1: (s32[], f32[1024])) -> pred[] {
  %limit = s32[]{:T(128)} constant(3)
  %p.1 = (s32[]{:T(128)}, f32[1024]{0:T(1024)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit), direction=LT
}
%short (p.2: f32[1024]) -> f32[1024] {
  ROOT %p.2 = f32[1024]{0:T(1024)} parameter(0)
}
%long (p.3: f32[1024]) -> f32[1024] {
  %p.3 = f32[1024]{0:T(1024)} parameter(0)
  ROOT %sum = f32[1024]{0:T(1024)} add(%p.3, %p.3), metadata={op_name="jit(f)/transpose(jvp(layer_4))/add"}
}
ENTRY %main (x: f32[1024], p: pred[]) -> f32[1024] {
  %x = f32[1024]{0:T(1024)} parameter(0)
  %p = pred[] parameter(1)
  %loop = (s32[]{:T(128)}, /*index=1*/f32[1024]{0:T(1024)}) while(%x), condition=%condition, body=%body
  %y = f32[1024]{0:T(1024)} get-tuple-element(%loop), index=1
  %fetch = (f32[512]{0:T(1024)S(1)}, f32[512]{0:T(1024)}, u32[]{:S(2)}) copy-start(%y)
  %fetched = f32[512]{0:T(1024)S(1)} copy-done(%fetch)
  %cut = ((f32[1024]{0:T(1024)}), f32[128]{0:T(1024)S(1)}, s32[]{:S(2)}) slice-start(%y), slice={[0:128]}
  %half = bf16[1024]{0:T(1024)} convert(%y)
  ROOT %z = f32[1024]{0:T(1024)} conditional(%p, %y, %y), branch_computations={%short, %long}
}
"""


def test_reads_and_writes_are_those_counted_by_hand():
    found = list(program_traffic.operations(PROGRAM))
    by_kind = {}
    for size, kind, *_ in found:
        by_kind[kind] = by_kind.get(kind, 0) + size
    assert by_kind == {
        "add": 3 * 3 * 4096 + 3 * 4096,  # two operands and a result, in the loop and in the branch
        "slice": 3 * 4096,  # its result is in the fast memory
        "copy": 3 * 1024,
        "dynamic-update-slice": 3 * 2 * 1024,
        "convert": 4096 + 2048,
        # To the fast memory, so read alone; and a counter.
        "copy-start": 2048 + 4,
        "slice-start": 512,
    }


def test_tables(tmp_path, capsys):
    path = pathlib.Path(tmp_path / "step.hlo")
    path.write_text(PROGRAM)
    program_traffic.main([str(path), "--rows", "2"])
    printed = capsys.readouterr().out
    assert printed.startswith("0.0 GB read and written in the chip's memory, one step\n")
    # One line for all layers, forward and backward.
    assert "  layer/add\n" in printed and "layer_3" not in printed
    assert printed.count("\n    0.00  ") == 4 * 2


def test_the_largest_arrays_are_those_in_the_chips_memory():
    found = program_traffic.largest_arrays(program_traffic.operations(PROGRAM))
    assert found[:3] == [
        (4096, 2, "f32[1024]{0:T(1024)}", "layer/add"),  # in the loop and in the branch
        (2048, 1, "bf16[1024]{0:T(1024)}", "convert"),
        (1024, 1, "f32[256]{0:T(1024)}", "copy"),
    ]


@pytest.mark.parametrize(("limit", "runs"), [("constant(3)", 3), ("parameter(1)", 1)])
def test_a_loop_whose_runs_are_not_known_counts_once(limit, runs):
    condition = [f"  %limit = s32[]{{:T(128)}} {limit}", "  ROOT %lt = pred[] compare(%i, %limit), direction=LT"]
    assert program_traffic.runs_of_loop(condition) == runs
