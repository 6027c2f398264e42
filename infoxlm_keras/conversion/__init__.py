"""Reads the model files of Hugging Face, sentence-transformers, fairseq and KerasHub; `exporting/` writes them.

In reading order:

    sources.py                    the source that a user names -> a local directory and the layout of its files
    tensor_files.py               named tensors in safetensors files, one at a time
    parameters.py                 Hugging Face's name of each weight <-> the Keras variable
    positions.py                  the offset of two, token types, and tensors that the encoder cannot hold
    huggingface_config.py         config.json <-> the encoder's shape
    checkpoint.py                 a checkpoint's tensors under those names, whichever library wrote it
    huggingface_checkpoint.py     Hugging Face's names; pickles are refused
    fairseq_checkpoint.py         fairseq's names
    added_tokens.py               tokens and rows beyond the vocabulary
    keras_hub_preset.py           a preset's JSON files against the headers of its weights
    tokenizer_json.py             a SentencePiece model -> tokenizer.json
    from_tokenizer_json.py        tokenizer.json -> a SentencePiece model
    tokenizer_check.py            compares the ids of both
    tokenizers.py                 any of these directories -> its tokenizer
    from_sentence_transformers.py the vector that a sentence-transformers folder defines
    load.py                       any of these directories -> a model with its head and tokenizer
"""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "load": ("load_checkpoint",),
        "sources": ("locate",),
        "tokenizers": ("load_tokenizer",),
    },
)
