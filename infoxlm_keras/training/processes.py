"""Which of the processes of a run writes its files."""


def is_chief():
    """bool: True in the one process that writes files and prints; True in a run of one process."""
    try:
        from infoxlm_keras import distribution
    except ImportError:
        return True
    return distribution.is_chief()
