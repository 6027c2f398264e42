"""`infoxlm finetune-embedding`: one update whatever the micro-batches; teachers, guides, prompts; what is saved."""

import json
import os
import shutil
import signal
import sys
import time

import keras
import numpy as np
import pytest
from keras import ops

from infoxlm_keras import InfoXLMPretrainer
from infoxlm_keras.commands import finetune_embedding
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import retrieval_accuracy
from infoxlm_keras.finetuning import EmbeddingHead, EmbeddingSettings, FineTuningRun
from infoxlm_keras.finetuning.embedding_task import EmbeddingTask, UpdateLoss
from infoxlm_keras.finetuning.sample_batches import SampleBatches
from infoxlm_keras.finetuning.teachers import MOST_RIGHT, TrainedVectors
from infoxlm_keras.finetuning.trials import run_trials, trial_settings
from infoxlm_keras.pretrained import PretrainedModel, load_pretrained, save_pretrained
from infoxlm_keras.runs.callbacks import Checkpoints
from infoxlm_keras.tasks.pretext_task import TaskResult
from infoxlm_keras.text.embedding_samples import EmbeddingSamples
from quick_runs import quick_graphs
from repository import REPOSITORY
from running import refused, run, tree
from sample_text import sentences
from tiny_pretraining import TWO_LAYERS, embedding_batch, tiny_masked_lm

pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="module")
def quickly():
    with quick_graphs():
        yield


def parts(count=11, negatives=1, start=0):
    english, german = sentences("en", count, start), sentences("de", count, start)
    others = [[f"{text} {number}" for number in range(negatives)] for text in reversed(german)]
    return [EmbeddingSamples("en-de", files=["x"], queries=english, positives=german, negatives=others)]


def settings(**changed):
    fixed = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "max_length": 16, "jit_compile": False}
    return EmbeddingSettings(**{**fixed, **changed})


def trained(preset, directory, training=None, development=(), **changed):
    """(the head, its result) after a run."""
    head = EmbeddingHead(training or parts(), list(development), [] if development else parts(5, start=40))
    once = FineTuningRun(
        head, lambda: load_pretrained(preset, dtype=changed.get("dtype")), settings(**changed), directory
    )
    once.train()
    return head, once.finish()


def close(one, other, tolerance=2e-4):
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance)


# === What does not change the result ===


@pytest.mark.parametrize("changed", [{}, {"dimensions": [4, 2], "both_directions": False}])
def test_micro_batches_give_the_update_of_one_large_batch(tiny_preset, tmp_path, changed):
    """The last batch of an epoch has three samples, and a row that counts for nothing."""
    whole, _ = trained(tiny_preset, tmp_path / "whole", dropout=0.0, **changed)
    cut, _ = trained(tiny_preset, tmp_path / "cut", dropout=0.0, accumulation_steps=4, **changed)
    close(whole.model, cut.model)


def test_cached_gradients_are_those_of_one_large_batch():
    """With a gradient step of size 1, the weights differ as the gradients do."""
    batch = {"training": embedding_batch(np.random.default_rng(5), 8, 8, negatives=2)}
    loss = UpdateLoss(0.1, dimensions=(4,), margin=0.2, teacher_weight=0.5)
    after = {}
    for count in (1, 2, 8):
        pretrainer = InfoXLMPretrainer(
            tiny_masked_lm(TWO_LAYERS), [EmbeddingTask(loss)], accumulation_steps=count, clip_norm=None
        )
        before = [ops.convert_to_numpy(variable) for variable in pretrainer.trainable_variables]
        pretrainer.compile(keras.optimizers.SGD(1.0))
        pretrainer.train_on_batch(batch)
        after[count] = [ops.convert_to_numpy(variable) for variable in pretrainer.trainable_variables]
    moved = [np.abs(new - old).max() for new, old in zip(after[1], before, strict=True)]
    assert sum(distance > 1e-3 for distance in moved) > 20
    for count in (2, 8):
        for one, other in zip(after[1], after[count], strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)


class SameVectors(EmbeddingTask):
    """Its loss is how far the vectors of a micro-batch are from those that the update was told."""

    def result(self, batch, training, shared=None):
        own = self.gathered(batch, training)
        rows = shared.first_row + ops.arange(ops.shape(own["queries"])[0])
        told = [ops.take(shared.tensors[name], rows, axis=0) for name in ("queries", "documents")]
        difference = sum(
            ops.sum(ops.abs(own[name] - one)) for name, one in zip(("queries", "documents"), told, strict=True)
        )
        plain = self.gathered(batch, False)["queries"]
        return TaskResult(difference, self.count(batch), ops.sum(ops.abs(own["queries"] - plain)), ops.ones(()))


def test_both_passes_draw_the_same_dropout_masks():
    pretrainer = InfoXLMPretrainer(tiny_masked_lm(TWO_LAYERS, dropout=0.3), [SameVectors()], accumulation_steps=3)
    pretrainer.compile(keras.optimizers.SGD(1e-3))
    for step in range(2):
        batch = {"training": embedding_batch(np.random.default_rng(step), 6, 8)}
        logs = pretrainer.train_on_batch(batch, return_dict=True)
        assert float(logs["loss"]) == 0.0
        # And they drop something.
        assert float(logs["training_accuracy"]) > 0.1


def test_a_task_of_whole_updates_trains_alone():
    from infoxlm_keras import MMLM

    with pytest.raises(Exception, match="trains alone"):
        InfoXLMPretrainer(tiny_masked_lm(TWO_LAYERS), [EmbeddingTask(), MMLM()])


KILLED = """
import os, signal, sys
sys.path[:0] = ['tests/finetuning', 'tests/support']
import test_finetune_embedding
from infoxlm_keras.runs.callbacks import Checkpoints

original = Checkpoints.save

def save(self):
    original(self)
    if self.step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.save = save
test_finetune_embedding.resumable(sys.argv[1], sys.argv[2])
"""


def resumable(preset, directory):
    """A run with dropout, micro-batches, a guide and shorter vectors."""
    return trained(
        preset,
        directory,
        development=parts(6, 0, 30),
        save_every=2,
        evaluate_every=2,
        dropout=0.1,
        accumulation_steps=2,
        guide=str(preset),
        dimensions=[4],
        group_by_length=True,
    )


def test_a_killed_run_ends_with_the_same_bits(tiny_preset, forked_python, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KERAS_BACKEND": "tensorflow"}

    def go(directory, step):
        command = [sys.executable, "-c", KILLED, str(tiny_preset), str(directory), str(step)]
        return forked_python.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = go(whole, 0)
    assert done.returncode == 0, done.stderr
    assert go(broken, 2).returncode == -signal.SIGKILL and not (broken / "result.json").exists()
    done = go(broken, 0)
    assert done.returncode == 0 and "resuming at update 2" in done.stdout, done.stderr
    one, other = tree(whole), tree(broken)
    different = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    assert not [name for name in different if not name.startswith(("tensorboard", "history.csv", "model/metadata"))]


# === What a run is known by ===


class Killed(Exception):
    pass


def begun(preset, directory, **changed):
    """A run that was ended after its first checkpoint."""

    def save(self):
        ORIGINAL_SAVE(self)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "save", save)
        trained(preset, directory, save_every=2, **changed)


ORIGINAL_SAVE = Checkpoints.save


def of_another_machine(patch):
    """Vectors that trained models compute have other last bits."""
    encode = PretrainedModel.encode

    def rounded(self, *arguments, **options):
        return encode(self, *arguments, **options) * np.linspace(
            1, 1 + 1e-5, self.backbone.hidden_dim, dtype="float32"
        )

    patch.setattr(PretrainedModel, "encode", rounded)


def with_info(preset, directory, **changed):
    """A copy of a preset whose history says something else."""
    shutil.copytree(preset, directory, dirs_exist_ok=True)
    path = directory / "infoxlm.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return directory


def test_a_run_goes_on_where_its_guide_and_teacher_compute_other_last_bits(tiny_preset, tmp_path, capsys, monkeypatch):
    models = {"guide": str(tiny_preset), "teacher": str(tiny_preset), "contrast_weight": 1.0}
    begun(tiny_preset, tmp_path / "run", **models)
    of_another_machine(monkeypatch)
    trained(tiny_preset, tmp_path / "run", save_every=2, **models)
    assert "resuming at update 2 of 6" in capsys.readouterr().out


def test_complete_runs_are_kept_where_their_guide_computes_other_last_bits(tiny_preset, tmp_path, monkeypatch):
    def trials():
        head = EmbeddingHead(parts(), [], parts(5, start=40))
        grid = trial_settings(settings(epochs=1, guide=str(tiny_preset)), [0.01], [0, 1], False)
        return run_trials(head, lambda: load_pretrained(tiny_preset), grid, tmp_path)

    before = trials()
    of_another_machine(monkeypatch)
    monkeypatch.setattr(FineTuningRun, "train", lambda self: pytest.fail("a complete run is trained again"))
    assert trials() == before


def test_a_guide_that_is_used_in_another_way_or_has_other_weights_is_refused(tiny_preset, tmp_path):
    guide = with_info(tiny_preset, tmp_path / "guide")
    begun(tiny_preset, tmp_path / "run", guide=str(guide))
    for changed, message in (
        ({"universal_layer": 2}, "layer of the guide was 1 and is 2"),
        ({"pooling": "cls"}, "pooling of the guide was 'mean' and is 'cls'"),
        ({"normalize": False}, "normalize of the guide was True and is False"),
        ({"max_length": 8}, "max_length of the guide was"),
        ({"prompts": {"document": "d: "}}, "document_prompt of the guide was '' and is 'd: '"),
    ):
        with_info(tiny_preset, guide, **changed)
        with pytest.raises(InputError, match=f"holds an unfinished run of another kind: {message}"):
            trained(tiny_preset, tmp_path / "run", guide=str(guide))
    model = load_pretrained(tiny_preset)
    model.backbone.weights[0].assign(model.backbone.weights[0] * 1.5)
    shutil.rmtree(guide)
    save_pretrained(guide, model.masked_lm, model.tokenizer, model.info)
    with pytest.raises(InputError, match="the guide was another;"):
        trained(tiny_preset, tmp_path / "run", guide=str(guide))


def test_a_file_of_vectors_is_known_by_those_that_are_learned(tiny_preset, tmp_path, capsys):
    width = load_pretrained(tiny_preset).backbone.hidden_dim
    texts, vectors = parts()[0].queries, np.random.default_rng(0).normal(size=(11, width)).astype("float32")
    path = tmp_path / "teacher.npz"
    np.savez(path, texts=texts, vectors=vectors)
    begun(tiny_preset, tmp_path / "run", teacher_vectors=str(path))
    np.savez(path, texts=texts, vectors=vectors + np.eye(11, width, dtype="float32"))
    with pytest.raises(InputError, match="the teacher_vectors was another"):
        trained(tiny_preset, tmp_path / "run", teacher_vectors=str(path))
    np.savez_compressed(path, texts=[*texts[::-1], "other"], vectors=[*vectors[::-1], np.ones(width, "float32")])
    trained(tiny_preset, tmp_path / "run", teacher_vectors=str(path))
    assert "resuming at update 2 of 6" in capsys.readouterr().out


def test_what_the_model_decides_belongs_to_the_run(tiny_preset, tmp_path, capsys):
    model = with_info(tiny_preset, tmp_path / "model")
    explicit = {"layer": 1, "pooling": "mean", "query_prompt": "", "document_prompt": ""}
    begun(model, tmp_path / "run")
    begun(model, tmp_path / "explicit", **explicit)
    for changed, message in (
        ({"universal_layer": 2}, "layer was 1 and is 2"),
        ({"pooling": "max"}, "pooling was 'mean' and is 'max'"),
        ({"prompts": {"query": "q: "}}, "query_prompt was '' and is 'q: '"),
        ({"prompts": {"passage": "p: "}}, "document_prompt was '' and is 'p: '"),
    ):
        with_info(tiny_preset, model, **changed)
        with pytest.raises(InputError, match=f"holds an unfinished run of another kind: {message};"):
            trained(model, tmp_path / "run")
    # What was given is not the model's to decide.
    trained(model, tmp_path / "explicit", **explicit)
    assert "resuming at update 2 of 6" in capsys.readouterr().out


def test_runs_of_earlier_releases_go_on_or_say_why_not(tiny_preset, tmp_path, capsys):
    begun(tiny_preset, tmp_path / "plain")
    begun(tiny_preset, tmp_path / "guided", guide=str(tiny_preset))
    for name, sources in (("plain", {}), ("guided", {"guide_query": "0" * 64, "guide_document": "0" * 64})):
        path = tmp_path / name / "run.json"
        content = json.loads(path.read_text())
        del content["resolved"]
        path.write_text(json.dumps({**content, **({"sources": sources} if sources else {})}))
    trained(tiny_preset, tmp_path / "plain")
    assert "resuming at update 2 of 6" in capsys.readouterr().out
    with pytest.raises(InputError, match="an earlier release started it and kept digests of the computed vectors"):
        trained(tiny_preset, tmp_path / "guided", guide=str(tiny_preset))


# === What is learned ===


def test_it_learns_pairs_and_shorter_vectors(tiny_preset, tmp_path):
    data = parts(24, 0)
    changed = {"epochs": 100, "batch_size": 24, "learning_rate": 0.02, "dropout": 0.0, "dimensions": [4]}
    before, _ = trained(tiny_preset, tmp_path / "before", data, **{**changed, "epochs": 1, "learning_rate": 1e-9})
    head, _ = trained(tiny_preset, tmp_path / "run", data, **changed)
    first = before.measure(data, 8, lambda samples: None)
    last = head.measure(data, 8, lambda samples: None)
    assert last["accuracy"]["en-de"] > first["accuracy"]["en-de"] + 0.5
    assert last["accuracy_4"]["en-de"] > 0.4
    assert set(last) == {"accuracy", "query_to_document", "document_to_query", "accuracy_4"}


def test_a_student_learns_its_teachers_vectors(tiny_preset, tmp_path):
    """The teacher, in a file, knows the first side alone; the student puts the second side there too."""
    data = parts(16, 0)
    teacher = np.random.default_rng(0).normal(size=(16, load_pretrained(tiny_preset).backbone.hidden_dim))
    # In another order than the data, with texts that are not needed.
    order = np.random.default_rng(1).permutation(16)
    texts, vectors = [data[0].queries[row] for row in order], teacher[order].astype("float32")
    np.savez(tmp_path / "teacher.npz", texts=[*texts, "other"], vectors=[*vectors, np.ones(teacher.shape[1])])
    changed = {"epochs": 150, "batch_size": 16, "learning_rate": 0.02, "dropout": 0.0}
    head, _ = trained(tiny_preset, tmp_path / "run", data, teacher_vectors=str(tmp_path / "teacher.npz"), **changed)
    unit = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
    for texts in (data[0].queries, data[0].positives):
        student = head.predict(head.inputs(texts), 8)
        assert np.sum(student * unit, axis=1).mean() > 0.7
    history = (tmp_path / "run/history.csv").read_text().splitlines()
    assert "training_loss" in history[0]


def test_a_teacher_with_the_students_own_weights_has_nothing_to_teach(tiny_preset, tmp_path):
    head = EmbeddingHead(parts(8), [], parts(4))
    once = FineTuningRun(
        head,
        lambda: load_pretrained(tiny_preset),
        settings(teacher=str(tiny_preset), max_length=None),
        tmp_path / "run",
    )
    arrays = head.training_arrays()
    own = head.predict(head.inputs(head.training[0].queries), 8)
    np.testing.assert_allclose(arrays["teacher"], own, atol=1e-5)
    assert once.trainer.tasks[0].update_loss == UpdateLoss(contrast_weight=0.0, teacher_weight=1.0)


def test_a_run_of_one_update_learns(tiny_preset, tmp_path):
    head, _ = trained(tiny_preset, tmp_path / "run", parts(6, 0), epochs=1, batch_size=6, dropout=0.0)
    before = load_pretrained(tiny_preset).backbone
    moved = [
        np.abs(ops.convert_to_numpy(new) - ops.convert_to_numpy(old)).max()
        for new, old in zip(head.backbone.weights, before.weights, strict=True)
    ]
    assert max(moved) > 1e-3


def test_what_is_right_for_a_query_is_no_wrong_answer_for_it():
    """A has two right documents, P1 and P2; P2 is also the document of C, and a negative of B."""
    data = EmbeddingSamples(
        "all", queries=["A", "a ", "B", "C"], positives=["P1", "P2", "P3", "p2"],
        negatives=[["X"], ["Y"], ["P2"], ["Z"]],
    )  # fmt: skip
    numbers = TrainedVectors([data]).text_numbers()
    found = UpdateLoss().candidates({**numbers, "weights": np.ones(4, "float32")})
    # Columns: P1 P2 P3 P2 | X Y P2 Z
    expected = [
        [0, 0, 1, 0, 1, 1, 0, 1],
        [0, 0, 1, 0, 1, 1, 0, 1],
        [1, 1, 0, 1, 1, 1, 1, 1],
        [1, 0, 1, 0, 1, 1, 0, 1],
    ]
    np.testing.assert_array_equal(found, np.array(expected, bool))


def test_the_right_documents_of_a_frequent_query_are_its_own_and_the_first_of_the_others():
    count = 20_000
    took = {}
    for name, query in (("rare", "{}"), ("frequent", "Yes.")):
        queries = [query.format(row) for row in range(count)]
        vectors = TrainedVectors([EmbeddingSamples("all", queries=queries, positives=[f"P{n}" for n in range(count)])])
        start = time.perf_counter()
        right = vectors.text_numbers()["right_text"]
        took[name] = time.perf_counter() - start
    # A row looks at as many documents as it takes; at all 20,000 it would be some 100 times the time.
    assert took["frequent"] < 15 * took["rare"]
    assert right.shape == (count, MOST_RIGHT)
    np.testing.assert_array_equal(right[0], np.arange(MOST_RIGHT))
    np.testing.assert_array_equal(right[5], [5, *range(5), *range(6, MOST_RIGHT)])
    np.testing.assert_array_equal(right[-1], [count - 1, *range(MOST_RIGHT - 1)])


def test_prompts_of_the_model_are_trained_with_and_kept(tiny_preset, tmp_path):
    model = load_pretrained(tiny_preset)
    model.info.prompts = {"query": "q: ", "summary": "s: "}
    for given, query, kept in (
        ({}, "q: ", {"query": "q: ", "summary": "s: "}),
        ({"query_prompt": "", "document_prompt": "d: "}, "", {"summary": "s: ", "document": "d: "}),
    ):
        head = EmbeddingHead(parts(4), [], parts(4))
        head.build(model, settings(max_length=12, **given))
        ids = head.training_arrays()["query_token_ids"]
        expected = head.inputs(head.training[0].queries, query)["token_ids"]
        np.testing.assert_array_equal(ids, expected)
        (tmp_path / str(len(given))).mkdir()
        head.save(tmp_path / str(len(given)))
        info = load_pretrained(tmp_path / str(len(given))).info
        assert info.prompts == kept and info.max_length is None  # it still takes longer texts


# === The command ===


def write_triples(path, count=12, start=0, negatives=True):
    rows = []
    for part in parts(count, 2, start):
        for query, positive, others in zip(part.queries, part.positives, part.negatives, strict=True):
            rows.append({"query": query, "positive": positive, **({"negatives": others} if negatives else {})})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_command_from_triples_to_vectors(tiny_preset, tmp_path):
    train = write_triples(tmp_path / "train.en-de.jsonl")
    test = write_triples(tmp_path / "test.en-de.jsonl", 6, 30, negatives=False)
    # A score needs no negatives: those of one language do not matter to another's samples.
    more = write_triples(tmp_path / "test.en-fr.jsonl", 5, 40)
    options = ["--model", tiny_preset, "--train", train, "--test", test, more, "--output_dir", tmp_path / "run"]
    options += ["--epochs", 1, "--batch_size", 4, "--learning_rate", 0.01, "--dimensions", 4, "--layer", 1]
    options += ["--query_prompt", "query: ", "--document_prompt", "passage: ", "--pooling", "max", "--no-jit_compile"]
    run(finetune_embedding.main, *options)
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert (
        results["negatives"] == 2
        and results["training"] == {"en-de": 12}
        and results["samples"] == {"en-de": 6, "en-fr": 5}
    )
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"model", "results.json", "accuracy.png", "runs"}

    model = load_pretrained(tmp_path / "run/model")
    info = model.info
    assert (info.universal_layer, info.pooling, info.normalize) == (1, "max", True)
    assert info.prompts == {"query": "query: ", "document": "passage: "} and info.tasks[-1] == "embedding"
    part = parts(6, 0, 30)[0]
    queries, documents = model.encode(part.queries, prompt="query"), model.encode(part.positives, prompt="document")
    assert np.mean(retrieval_accuracy(queries, documents)) == pytest.approx(results["accuracy"]["en-de"])
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1.0, rtol=1e-5)


def test_what_is_refused_before_training(tiny_preset, tmp_path, capsys):
    train = write_triples(tmp_path / "train.en-de.jsonl")
    test = write_triples(tmp_path / "test.en-de.jsonl", 6, 30)
    texts = parts(12, 2)[0].queries
    for name, arrays in {
        "few": {"texts": texts[:3], "vectors": np.ones((3, 4), "float32")},
        "narrow": {"texts": texts, "vectors": np.ones((12, 4), "float32")},
        "flat": {"texts": texts, "vectors": np.ones(12, "float32")},
        "zero": {"texts": texts, "vectors": np.zeros((12, 4), "float32")},
        "bare": {"vectors": np.ones((12, 4), "float32")},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    np.save(tmp_path / "one.npy", np.ones((12, 4), "float32"))
    (tmp_path / "text.npz").write_text("no array")
    options = ["--model", tiny_preset, "--train", train, "--test", test, "--output_dir", tmp_path / "run"]
    width = load_pretrained(tiny_preset).backbone.hidden_dim
    for further, message in (
        (["--dimensions", width], f"must be in 1..{width - 1}"),
        (["--dimensions", 4, 4], "give each number once"),
        (["--temperature", 0], "temperature = 0.0: must be positive"),
        (["--layer", 9], "the encoder has hidden states"),
        (["--teacher", tiny_preset, "--teacher_vectors", tmp_path / "few.npz"], "give one of them"),
        (["--contrast_weight", 0], "there is nothing to learn"),
        (["--teacher", tiny_preset, "--teacher_weight", 0], "there is nothing to learn"),
        (["--teacher", tiny_preset, "--guide", tiny_preset], "belong to the contrast"),
        (["--teacher_weight", 2], "needs teacher or teacher_vectors"),
        (["--query_prompt", "a b c d e f g h", "--max_length", 8], "leaves no room for a text"),
        (["--teacher_vectors", tmp_path / "few.npz"], "has no vector of 9 of 12 training queries"),
        (["--teacher_vectors", tmp_path / "narrow.npz"], f"have 4 numbers, those of the model in training {width}"),
        (["--teacher_vectors", tmp_path / "flat.npz"], "vectors has the shape [12]"),
        (["--teacher_vectors", tmp_path / "zero.npz"], "row 0 (from 0) of vectors is zero"),
        (["--teacher_vectors", tmp_path / "bare.npz"], "lacks texts"),
        (["--teacher_vectors", tmp_path / "one.npy"], "holds no arrays of NumPy (.npz)"),
        (["--teacher_vectors", tmp_path / "text.npz"], "holds no arrays of NumPy (.npz)"),
        (["--teacher_vectors", tmp_path / "absent.npz"], "absent.npz: no such file"),
        (["--guide", tmp_path / "absent"], "absent"),
        (["--false_negative_margin", 3], "must be in -2..2"),
    ):
        assert message in refused(capsys, finetune_embedding.main, *options, *further), further
        assert not (tmp_path / "run").exists(), further


# === Batches ===


def test_batches_of_equal_length_hold_each_sample_once_and_are_cut():
    generator = np.random.default_rng(3)
    lengths = generator.integers(1, 33, 1000)
    mask = (np.arange(32) < lengths[:, None]).astype("int32")
    arrays = {
        "query_token_ids": mask * np.arange(1000)[:, None],
        "query_padding_mask": mask,
        "document_padding_mask": mask[:, None, ::1] * np.array([1, 0])[:, None],
        "teacher": np.ones((1000, 32), "float32"),
        # Numbers of texts, as many as a query has tokens.
        "query_text": np.ones((1000, 32), "int32"),
        "document_text": np.ones((1000, 2), "int32"),
        "weights": np.ones(1000, np.float32),
    }
    grouped = SampleBatches(arrays, 16, epochs=2, seed=1, group_by_length=True)
    positions = []
    for epoch in range(2):
        seen = []
        for place in range(grouped.updates_per_epoch):
            batch = grouped.batch(epoch * grouped.updates_per_epoch + place)["head"]
            length = batch["query_token_ids"].shape[1]
            assert batch["query_padding_mask"].shape == (16, length)
            assert batch["document_padding_mask"].shape == (16, 2, length)
            assert batch["teacher"].shape == batch["query_text"].shape == (16, 32)
            assert length in (8, 12, 16, 24, 32) and length >= batch["query_padding_mask"].sum(axis=1).max()
            positions.append(length)
            seen += grouped.rows(epoch * grouped.updates_per_epoch + place).tolist()
        assert sorted(row for row in seen if row >= 0) == list(range(1000))
    assert np.mean(positions) < 0.7 * 32
    assert grouped.rows(0).tolist() != grouped.rows(grouped.updates_per_epoch).tolist()
    again = SampleBatches(arrays, 16, epochs=2, seed=1, group_by_length=True)
    assert again.rows(70).tolist() == grouped.rows(70).tolist()


def test_complete_runs_of_a_model_that_decides_otherwise_are_refused(tiny_preset, tmp_path):
    model = with_info(tiny_preset, tmp_path / "model")

    def trials():
        head = EmbeddingHead(parts(), [], parts(5, start=40))
        grid = trial_settings(settings(epochs=1), [0.01], [0], False)
        return run_trials(head, lambda: load_pretrained(model), grid, tmp_path / "runs")

    assert trials() == trials()
    with_info(tiny_preset, model, universal_layer=2)
    with pytest.raises(InputError, match="holds a run of another kind: layer was 1 and is 2"):
        trials()
