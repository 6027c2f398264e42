"""All targets, those that start at once first."""

from fuzz import answers, models, readers, run_files, texts

TARGETS = sorted(
    [*readers.TARGETS, *texts.TARGETS, *run_files.TARGETS, *answers.TARGETS, *models.TARGETS],
    key=lambda target: target.heavy,
)
