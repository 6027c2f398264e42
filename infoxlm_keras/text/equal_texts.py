"""When two texts count as the same one: case and white space make no difference."""


def folded_text(text: str) -> str:
    """`text` as it is compared with others.

    Example:
    ```python
    folded_text("  Open the\tFile ") == folded_text("open the file")  # True
    ```
    """
    return " ".join(text.casefold().split())
