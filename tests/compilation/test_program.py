"""What is read out of a program's text, on lines as XLA's compilers print them."""

import pytest

from infoxlm_keras.compilation.program import check_stays_on_chip, messages_in
from infoxlm_keras.errors import InputError

PLACE = 'metadata={op_name="jit(train_step)/psum" stack_frame_id=%d}'


def line(shape, kind, channel, frame=1, operand="%x"):
    return f"  %a.1 = {shape} {kind}({operand}), channel_id={channel}, replica_groups={{}}, {PLACE % frame}"


def test_kinds_sizes_and_the_largest_array():
    text = "\n".join(
        [
            "ENTRY %main {",
            line("(f32[128]{0:T(128)}, /*index=1*/f32[250002,768]{1,0:T(8,128)S(1)}, bf16[4]{0})", "all-reduce", 1),
            line("f32[4,32,128]{2,1,0:T(8,128)}", "all-gather", 2),
            line("pred[]", "all-reduce", 3),
            "  %b = f32[8]{0} add(f32[8]{0} %a, f32[8]{0} %a)",
        ]
    )
    first, second, third = messages_in(text)
    assert (first.kind, first.bytes) == ("all-reduce", 4 * 128 + 4 * 250002 * 768 + 2 * 4)
    assert first.shapes == ("f32[250002,768]", "f32[128]", "bf16[4]")
    assert (second.kind, second.bytes) == ("all-gather", 4 * 4 * 32 * 128)
    assert (third.kind, third.bytes) == ("all-reduce", 1)


def test_a_message_repeated_in_the_loops_that_read_it_is_one():
    repeated = [line(f"f32[4,4,128]{{2,1,0:T(4,128){memory}}}", "all-gather", 176) for memory in ("", "S(1)", "S(1)")]
    assert len(messages_in("\n".join(repeated))) == 1


def test_messages_of_one_channel_number_are_kept_apart_by_shape_and_place():
    lines = [
        line("f32[2]", "all-reduce", 1),
        line("f32[3]", "all-reduce", 1),
        line("f32[3]", "all-reduce", 1, frame=2),
    ]
    assert [message.bytes for message in messages_in("\n".join(lines))] == [8, 12, 12]


def test_asynchronous_messages_count_once_and_by_their_result():
    lines = [
        line("(f32[4,8]{1,0}, f32[32,8]{1,0})", "all-gather-start", 1),
        "  %c = f32[32,8]{1,0} all-gather-done(%a.1), channel_id=1",
        line("f32[5]{0}", "all-reduce-start", 2),
        "  %d = f32[5]{0} all-reduce-done(%a.1)",
    ]
    assert [(message.kind, message.bytes) for message in messages_in("\n".join(lines))] == [
        ("all-gather", 4 * 32 * 8),
        ("all-reduce", 20),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  %i = ((f32[2]), token[]) infeed(%t)", "calls the host (line 2"),
        ('  %c = f32[] custom-call(%x), custom_call_target="xla_ffi_python_cpu_callback"', "calls the host (line 2"),
        ("  %d = f32[<=8]{0} parameter(0)", "depends on values (line 2"),
        ('  %d = (f32[8], s32[]) custom-call(%x), custom_call_target="PadToStatic"', "depends on values (line 2"),
    ],
)
def test_what_a_chip_would_wait_for_is_an_error(text, message):
    with pytest.raises(InputError) as error:
        check_stays_on_chip("HloModule jit_train_step\n" + text)
    assert message in str(error.value)


def test_ordinary_calls_are_no_calls_of_the_host():
    check_stays_on_chip('  %c = f32[2] custom-call(%x), custom_call_target="TopK"\n  %s = f32[2] negate(%x)')
