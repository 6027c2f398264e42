"""The bundled sample corpus as a data set of TensorFlow Datasets.

import tensorflow_datasets as tfds
import data_prep.tfds_sample_corpus.builder  # registers it
pairs = tfds.load("infoxlm_sample_corpus/en-de", split="train")
"""
