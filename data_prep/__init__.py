"""From text to TFRecords: commands (`python data_prep/<name>.py --help`) and the modules behind them.

In reading order:

    readers/           files -> chunks of whole lines -> sentences or pairs
    vocabulary.py      a sample of the text -> a SentencePiece model
    packing.py         sentences -> full blocks
    monolingual.py     a chunk -> MMLM records; a pure function
    bitext.py          a chunk -> pair records in length buckets; a pure function
    encoded_chunk.py   what these two return
    examples.py        token ids -> the bytes of tf.train.Example in a TFRecord frame
    worker_pool.py     the same function on many chunks at once, results in order
    shuffled_shards.py records of a stream -> shuffled shard files
    building.py        all of it, and the manifest
    summary.py         the closing table
    help_corpus/       translated help pages of LibreOffice -> the sample corpus

Nothing here imports TensorFlow: a worker process stays small and starts at once.
"""
