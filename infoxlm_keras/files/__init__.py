"""The one door to storage: whole writes, locks, compression, hubs, text and JSON."""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    from infoxlm_keras.files.atomic import check_output as check_output
    from infoxlm_keras.files.atomic import new_directory as new_directory
    from infoxlm_keras.files.atomic import write_atomically as write_atomically
    from infoxlm_keras.files.parser_errors import describe as describe
    from infoxlm_keras.files.parser_errors import parsing as parsing
    from infoxlm_keras.files.paths import resolved_output as resolved_output
    from infoxlm_keras.files.paths import without_wildcards as without_wildcards
    from infoxlm_keras.files.replaceable import MODEL_FOLDER as MODEL_FOLDER
    from infoxlm_keras.files.replaceable import Contents as Contents
    from infoxlm_keras.files.staging import local_copy as local_copy
    from infoxlm_keras.files.storage import is_remote as is_remote
    from infoxlm_keras.files.text_and_json import load_yaml as load_yaml
    from infoxlm_keras.files.text_and_json import parse_json as parse_json
    from infoxlm_keras.files.text_and_json import read_bytes as read_bytes
    from infoxlm_keras.files.text_and_json import read_json as read_json
    from infoxlm_keras.files.text_and_json import read_text as read_text
    from infoxlm_keras.files.text_and_json import read_yaml as read_yaml
    from infoxlm_keras.files.text_and_json import write_json as write_json

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "atomic": ("check_output", "new_directory", "write_atomically"),
        "parser_errors": ("describe", "parsing"),
        "paths": ("resolved_output", "without_wildcards"),
        "replaceable": ("MODEL_FOLDER", "Contents"),
        "staging": ("local_copy",),
        "storage": ("is_remote",),
        "text_and_json": (
            "load_yaml",
            "parse_json",
            "read_bytes",
            "read_json",
            "read_text",
            "read_yaml",
            "write_json",
        ),
    },
)
