"""`python -m infoxlm_keras COMMAND ...`, the same as `infoxlm COMMAND ...`."""

from infoxlm_keras.commands.dispatch import console_script

if __name__ == "__main__":
    console_script()
