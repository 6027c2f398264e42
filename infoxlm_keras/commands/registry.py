"""Every command of `infoxlm`: one row each, in the order in which a newcomer needs them."""

# Name -> (group, one line of help). The module is `infoxlm_keras.commands.<name with underscores>`.
COMMANDS = {
    "demo": ("start", "the whole way on bundled text: records, pre-training, evaluation, SavedModel"),
    "unpack-sample-corpus": ("text to records", "write the bundled corpus as text files"),
    "train-tokenizer": ("text to records", "train a SentencePiece vocabulary in XLM-R's id layout"),
    "extend-vocabulary": ("text to records", "add pieces for new languages to a trained model"),
    "build-monolingual": ("text to records", "pack text into blocks for MMLM"),
    "build-bitext": ("text to records", "encode sentence pairs for TLM and XLCO"),
    "build-with-beam": ("text to records", "the same builds on Apache Beam"),
    "inspect-records": ("text to records", "show and plot what records hold"),
    "write-tfds-metadata": ("text to records", "make records a data set of TensorFlow Datasets"),
    "pretrain": ("training", "pre-train with MMLM, TLM and XLCO"),
    "finetune-classification": ("training", "fine-tune a classifier in one language, measure it in all"),
    "compile-step": ("training", "compile the step for TPUs and GPUs that are not at hand"),
    "evaluate-retrieval": ("evaluation", "find translations among held-out sentences"),
    "convert-checkpoint": ("models", "convert from and to Hugging Face, sentence-transformers, KerasHub"),
    "export-savedmodel": ("models", "export a SavedModel that takes strings"),
    "search": ("models", "index sentences and find the nearest ones"),
    "make-sample-corpus": ("maintenance", "make the bundled corpus from help packages"),
}
