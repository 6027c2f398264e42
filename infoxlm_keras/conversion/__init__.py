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
    tokenizer_json.py             a SentencePiece model <-> tokenizer.json
    load.py                       any of these directories -> a model with its head and tokenizer
    sentence_vector.py            which hidden state, pooled how, stands for a sentence
    to_huggingface.py             a model -> a folder for transformers
    to_sentence_transformers.py   a model -> a folder for SentenceTransformer
    to_keras_hub.py               a model -> a preset of KerasHub's embedder task
    model_card.py                 README.md of an exported folder
    convert.py                    all of it, as recipes/convert_checkpoint.py calls it
"""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "convert": ("convert_checkpoint",),
        "load": ("load_checkpoint",),
        "sources": ("locate",),
    },
)
