"""`infoxlm export-onnx` as a script; its code is infoxlm_keras/commands/export_onnx.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.export_onnx import main

if __name__ == "__main__":
    run_command(main)
