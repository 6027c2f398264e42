"""Out to the files of Hugging Face, sentence-transformers and KerasHub."""
