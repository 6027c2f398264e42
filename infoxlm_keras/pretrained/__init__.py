"""A pre-trained encoder on disk: a KerasHub preset directory plus `infoxlm.json`.

Every KerasHub task opens the directory with `from_preset`; `infoxlm.json` says what InfoXLM adds: the universal
layer and how its vectors are pooled, how long it was trained, on which records and with which tokenizer.
`infoxlm_keras.conversion` reads the files of Hugging Face, sentence-transformers and fairseq.
"""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.pretrained.information import (
        PretrainingInfo as PretrainingInfo,
        read_info as read_info,
        write_info as write_info,
    )
    from infoxlm_keras.pretrained.loading import (
        has_masked_lm_head as has_masked_lm_head,
        load_classifier as load_classifier,
        load_pretrained as load_pretrained,
    )
    from infoxlm_keras.pretrained.model import PretrainedModel as PretrainedModel
    from infoxlm_keras.pretrained.mteb_model import MTEBModel as MTEBModel
    from infoxlm_keras.pretrained.saving import (
        save_pretrained as save_pretrained,
        write_preset as write_preset,
    )

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "information": ("PretrainingInfo", "read_info", "write_info"),
        "loading": ("has_masked_lm_head", "load_classifier", "load_pretrained"),
        "model": ("PretrainedModel",),
        "mteb_model": ("MTEBModel",),
        "saving": ("save_pretrained", "write_preset"),
    },
)
