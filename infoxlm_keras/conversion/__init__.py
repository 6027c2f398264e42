"""In from, and out to, the files of Hugging Face, sentence-transformers, fairseq and KerasHub.

In reading order:

    sources.py                    what a user names -> a local directory and the layout of its files
    hub.py                        download and upload, by the hubs' own libraries
    tensor_files.py               named tensors in safetensors files, one at a time
    parameters.py                 Hugging Face's name of each weight <-> the Keras variable
    positions.py                  the offset of two, token types, and what the encoder does not compute with
    huggingface_config.py         config.json <-> the encoder's shape
    checkpoint.py                 a checkpoint's tensors under those names, whoever wrote it
    huggingface_checkpoint.py     Hugging Face's names; pickles are refused
    fairseq_checkpoint.py         fairseq's names
    added_tokens.py               tokens and rows beyond the vocabulary
    keras_hub_preset.py           a preset's JSON files against the headers of its weights
    sentencepiece_proto.py        what of a SentencePiece model decides its ids
    tokenizer_json.py             a SentencePiece model -> tokenizer.json
    from_tokenizer_json.py        and back
    tokenizer_check.py            whether both give the same ids
    from_sentence_transformers.py which vector a sentence-transformers folder gives
    load.py                       any of these directories -> a model with its head and tokenizer
    sentence_vector.py            which hidden state, pooled how, stands for a sentence
    task_models.py                fine-tuned models with their heads
    to_huggingface.py             a model -> a folder for transformers
    to_sentence_transformers.py   a model -> a folder for SentenceTransformer
    to_keras_hub.py               a model -> a preset of KerasHub's embedder task
    model_card.py                 README.md of an exported folder
    convert.py                    all of it, as infoxlm convert-checkpoint calls it
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
