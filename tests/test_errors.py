"""The message that users read."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError, input_error_within


@given(st.text())
def test_a_message_is_one_line_whatever_it_quotes(quoted):
    message = str(InputError(f"file: holds {quoted}; give another"))
    assert "\n" not in message and "\r" not in message
    assert message.split() == f"file: holds {quoted}; give another".split()


def test_a_message_crosses_processes_as_it_is():
    error = InputError("tokenizer.json: has a pre-tokenizer (\n\tSplit,\r\n Metaspace)")
    assert str(error) == "tokenizer.json: has a pre-tokenizer ( Split, Metaspace)"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_message_within_another_librarys_error():
    found = input_error_within(RuntimeError("INVALID_ARGUMENT: InputError: a.txt:3: is no text\nTraceback (most ..."))
    assert isinstance(found, InputError) and str(found) == "a.txt:3: is no text"
    assert input_error_within(RuntimeError("out of memory")) is None
