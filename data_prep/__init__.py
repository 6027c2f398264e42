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
    spills.py          records of many chunks on disk, sorted by their random numbers
    sorted_files.py    ... from which any range of numbers is read back
    duplicates.py      which records repeat an earlier one, found on disk
    shuffled_shards.py the global shuffle: who belongs to which shard, and in which order
    local_build.py     all of it on this machine, step by step
    build_journal.py   ... with a journal, so that a killed build goes on
    beam_pipeline.py   all of it on Apache Beam
    sources.py         fingerprints of the input, what was kept and left out of it
    building.py        what the commands share, and the manifest
    summary.py         the closing table
    tfds_metadata.py   records as a data set of TensorFlow Datasets
    tfds_sample_corpus/ the sample corpus as such a data set
    help_corpus/       translated help pages of LibreOffice -> the sample corpus

Only what is named after TFDS imports TensorFlow: a worker process stays small and starts at once. The records
themselves are described in docs/records.md.
"""
