"""Word alignment by the hidden states of an encoder, and its error against gold alignments.

In reading order:

    gold.py      files -> sentence pairs of words, with gold links
    methods.py   similarity of pieces -> links of pieces (NumPy)
    aligner.py   sentence pairs -> links of words at every layer
    scores.py    links -> precision, recall and alignment error rate
"""
