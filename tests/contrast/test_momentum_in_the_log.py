"""What XLCO reports of its momentum."""

from infoxlm_keras import XLCO
from tiny_pretraining import tiny_pretrainer


def test_the_key_encoder_does_not_move_before_the_task_is_enabled():
    task = XLCO(queue_length=8, enable_step=3, momentum=0.9)
    tiny_pretrainer([task])
    found = [round(task.state_numbers(update, 4)["momentum"], 6) for update in (1, 3, 4, 5)]
    assert found == [0.0, 0.0, 0.9, 0.9]
