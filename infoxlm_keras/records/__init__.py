"""The format of records: manifest, TFRecord frames and checksums, `tf.train.Example`, statistics, TFDS metadata."""
