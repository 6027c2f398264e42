"""The XTREME benchmark (Hu et al., 2020): which files its tasks need, what is run on them, and the table.

tasks.py      the tasks: files, languages, settings, published scores
discovery.py  the files of each task in a folder
plan.py       the commands of each task
answers.py    measures a trained question-answering model on further files
results.py    scores of finished tasks, and the table beside the published ones
"""
