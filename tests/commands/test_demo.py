"""The demo's stages."""

import argparse
import pathlib

import pytest

from infoxlm_keras import load_config
from infoxlm_keras.commands.demo import stages


@pytest.mark.parametrize("settings", [[], ["log_every=7", "save_initial_model=false"]])
@pytest.mark.parametrize("config", ["demo", "tiny", "small"])
def test_any_configuration_leaves_the_untrained_model_that_the_report_needs(config, settings):
    options = argparse.Namespace(config=config, steps=None, set=settings)
    commands = [command for _, command, _ in stages(pathlib.Path("runs/demo"), options)]
    (pretraining,) = (command for command in commands if command[0] == "pretrain")
    given = [value for option, value in zip(pretraining, pretraining[1:], strict=False) if option == "--set"]
    assert load_config(config, given) == load_config(config, [*settings, "save_initial_model=true"])
    measured = [command[command.index("--model") + 1].name for command in commands if "--pairs" in command]
    assert measured == ["initial_model", "model"]
