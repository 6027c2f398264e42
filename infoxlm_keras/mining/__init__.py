"""Finds translations among the sentences of two files that are not aligned, and hard negatives for training.

In reading order:

    sentences.py      a file -> its sentences on disk, each once
    work_folder.py    what a run has done so far, so that it can go on
    row_file.py       rows of numbers in a file that grows
    vectors.py        sentences -> unit vectors on disk
    neighbours.py     vectors of both sides -> nearest neighbours on disk
    candidates.py     neighbours -> scored pairs (NumPy)
    gold.py           scored pairs and gold pairs -> precision, recall, F1, best threshold
    mining.py         the whole way

    negatives.py        neighbours of queries -> the negatives that are chosen (NumPy)
    negative_pool.py    the queries and documents of samples, each text once, and what belongs together
    negative_mining.py  the whole way, by vectors.py and work_folder.py
"""
