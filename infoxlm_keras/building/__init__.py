"""Text to records: encoders, packing, spills, journal and shards; on this machine or on Apache Beam.

In reading order:

    monolingual_encoder.py  a chunk of text -> MMLM records; a pure function
    packing.py              sentences -> full blocks
    bitext_encoder.py       a chunk of pairs -> pair records in length buckets; a pure function
    encoded_chunk.py        what both encoders return
    spills.py               records of many chunks on disk, sorted by their random numbers
    sorted_files.py         sorted files, from which any range of numbers is read back
    repeated_records.py     the records that repeat an earlier one, found on disk
    shuffled_shards.py      the global shuffle: which record belongs to which shard, in which order
    local_build.py          the whole build on this machine, phase by phase
    journal.py              the journal from which a killed build continues
    beam_pipeline.py        the whole build on Apache Beam
    input_account.py        fingerprints of the input, and what was kept and dropped of it
    build.py                what the builders share, and the manifest
    summary.py              the closing table
    command.py              the command of a builder

A worker process imports neither TensorFlow nor Keras, so it is small and starts at once. docs/records.md
describes the records.
"""
