"""Text before it is encoded: languages, readers, cleaning, vocabularies, labelled texts, questions, tagged words."""
