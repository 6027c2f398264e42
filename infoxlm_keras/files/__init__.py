"""The one door to storage: whole writes, locks, compression, hubs, text and JSON."""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "atomic": ("new_directory", "write_atomically"),
        "parser_errors": ("describe", "parsing"),
        "paths": ("check_local", "resolved_output", "without_wildcards"),
        "text_and_json": ("read_json", "read_text", "read_yaml", "write_json"),
    },
)
