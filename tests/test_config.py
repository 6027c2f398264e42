"""Settings: the shipped files, bases, overrides, and what is refused before anything starts."""

import pytest
import yaml

from infoxlm_keras import InputError, load_config
from infoxlm_keras.config import check_config, dump_config, flatten
from repository import REPOSITORY

CONFIGS = sorted((REPOSITORY / "recipes" / "configs").glob("*.yaml"))


def write(directory, name, text):
    (directory / name).write_text(text, encoding="utf-8")
    return directory / name


# === Shipped configurations ===


def test_there_are_configurations():
    assert {path.stem for path in CONFIGS} >= {"demo", "infoxlm_base", "infoxlm_large"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configuration(path, tmp_path):
    """It loads, and says in its head what to run, and on what."""
    config = load_config(path)
    again = load_config(write(tmp_path, "resolved.yaml", dump_config(config)))
    assert again == config
    layers = config.model.encoder_size.num_layers
    assert config.xlco.universal_layer is None or config.xlco.universal_layer <= layers
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert "#   command " in head


def test_base_is_the_papers():
    """The authors' settings, written out here: another number is another method."""
    config = load_config(next(path for path in CONFIGS if path.stem == "infoxlm_base"))
    size = config.model.encoder_size
    assert (size.num_layers, size.hidden_dim, size.num_heads, size.intermediate_dim) == (12, 768, 12, 3072)
    assert size.max_sequence_length == 512
    assert config.steps == 150_000 and config.tasks == ["mmlm", "tlm", "xlco"]
    assert config.loss_combination == "joint_count"
    xlco = config.xlco
    assert (xlco.universal_layer, xlco.queue_length, xlco.temperature, xlco.pooling) == (8, 131_072, 0.25, "cls")
    assert (xlco.projection, xlco.normalize, xlco.in_batch_negatives) == (True, False, False)
    assert (xlco.mixup, xlco.mask_inputs) == (True, True)
    assert (xlco.momentum.kind, xlco.momentum.value) == ("constant", 0.9999)
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.warmup_steps, optimizer.weight_decay) == (2e-4, 10_000, 0.01)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon, optimizer.clip_norm) == (0.9, 0.98, 1e-6, 1.0)
    assert optimizer.accumulation_steps == 16
    for task in (config.mmlm, config.tlm, config.xlco):
        assert task.batch_size * optimizer.accumulation_steps == 2048 and task.weight == 1.0
    assert (config.masking.probability, config.masking.mask_share, config.masking.random_share) == (0.15, 0.8, 0.1)


def test_large_differs_where_the_paper_does():
    config = load_config(next(path for path in CONFIGS if path.stem == "infoxlm_large"))
    size = config.model.encoder_size
    assert (size.num_layers, size.hidden_dim, size.num_heads, size.intermediate_dim) == (24, 1024, 16, 4096)
    assert (config.steps, config.xlco.universal_layer, config.xlco.momentum.value) == (200_000, 12, 0.999)
    assert config.optimizer.learning_rate == 1e-4
    assert config.xlco.queue_length == 131_072 and config.optimizer.accumulation_steps == 16


# === Bases and overrides ===


def test_a_file_holds_what_differs_from_its_base(tmp_path):
    write(tmp_path, "grand.yaml", "steps: 20\noptimizer: {warmup_steps: 3, learning_rate: 0.5}\nseed: 1\n")
    (tmp_path / "sub").mkdir()
    write(tmp_path, "base.yaml", "base: grand.yaml\nxlco: {temperature: 0.5, momentum: {value: 0.9}}\n")
    path = write(tmp_path / "sub", "own.yaml", "base: ../base.yaml\nseed: 7\nxlco: {momentum: {kind: linear}}\n")
    config = load_config(path)
    assert (config.steps, config.seed) == (20, 7)
    assert (config.optimizer.warmup_steps, config.optimizer.learning_rate) == (3, 0.5)
    assert (config.xlco.temperature, config.xlco.momentum.value, config.xlco.momentum.kind) == (0.5, 0.9, "linear")
    assert config.xlco.queue_length == 131_072


def test_overrides_win(tmp_path):
    path = write(tmp_path, "own.yaml", "steps: 20\nxlco: {temperature: 0.5}\noptimizer: {warmup_steps: 0}\n")
    overrides = ["xlco.temperature=0.1", "tasks=[mmlm, xlco]", "optimizer.learning_rate=1e-3", "steps=30", "steps=40"]
    config = load_config(path, [*overrides, "optimizer.clip_norm=null", "xlco.momentum.value=0.5"])
    assert (config.xlco.temperature, config.tasks, config.steps) == (0.1, ["mmlm", "xlco"], 40)
    assert (config.optimizer.learning_rate, config.optimizer.clip_norm) == (0.001, None)
    assert config.xlco.momentum.value == 0.5


def test_a_named_size_with_one_dimension_changed():
    config = check_config({"model": {"size": "infoxlm_base", "num_layers": 6}})
    size = config.model.encoder_size
    assert (size.num_layers, size.hidden_dim, size.num_heads) == (6, 768, 12)


def test_settings_are_listed_by_dotted_key():
    flat = flatten(check_config({"xlco": {"momentum": {"value": 0.7}}}))
    assert flat["xlco.momentum.value"] == 0.7 and flat["optimizer.beta_2"] == 0.98 and flat["model.dropout"] is None
    assert len(flat) == len(set(flat)) and not any(isinstance(value, dict) for value in flat.values())


def test_resolved_settings_read_back(tmp_path):
    changed = {
        "steps": 11,
        "tasks": ["xlco"],
        "optimizer": {"warmup_steps": 1, "epsilon": 1e-8, "clip_norm": None},
        "data": {"longest_pair": 64},
        "model": {"dtype": "mixed_float16", "dropout": 0.25},
    }
    config = check_config(changed)
    text = dump_config(config)
    assert load_config(write(tmp_path, "resolved.yaml", text)) == config
    assert yaml.safe_load(text)["optimizer"]["epsilon"] == 1e-8


# === What is refused ===


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        ({"stps": 5}, ["stps: unknown key", "did you mean steps?"]),
        ({"xlco": {"temprature": 1}}, ["xlco.temprature: unknown key", "did you mean temperature?"]),
        ({"xlco": {"momentum": {"vale": 1}}}, ["xlco.momentum.vale: unknown key", "did you mean value?"]),
        ({"zzz": 5}, ["zzz: unknown key", "known here: steps, seed, tasks"]),
        ({"steps": 0}, ["steps = 0"]),
        ({"steps": "many"}, ["steps = 'many'"]),
        ({"tasks": []}, ["tasks = []", "at least one"]),
        ({"tasks": ["mmlm", "mmlm"]}, ["'mmlm', 'mmlm'", "only once"]),
        ({"tasks": ["nmt"]}, ["tasks.0 = 'nmt'", "'mmlm', 'tlm'"]),
        ({"tasks": ["mmlm"], "mmlm": {"weight": 0}}, ["the weight of every task is 0"]),
        ({"tasks": "mmlm"}, ["tasks = 'mmlm'", "list"]),
        ({"loss_combination": "mean"}, ["loss_combination = 'mean'", "'joint_count'"]),
        ({"model": {"size": "huge"}}, ["model.size = 'huge'", "'infoxlm_large'"]),
        ({"model": {"num_heads": 5}}, ["model.num_heads = 5", "hidden_dim = 128"]),
        ({"model": {"hidden_dim": 130}}, ["model.num_heads = 4", "hidden_dim = 130"]),
        ({"model": {"dropout": 1.0}}, ["model.dropout = 1.0", "less than 1"]),
        ({"model": {"dtype": "float16"}}, ["model.dtype = 'float16'", "'mixed_float16'"]),
        ({"mmlm": {"batch_size": 0}}, ["mmlm.batch_size = 0"]),
        ({"tlm": {"weight": -1}}, ["tlm.weight = -1"]),
        ({"tlm": {"weight": float("inf")}}, ["tlm.weight = inf"]),
        ({"xlco": {"universal_layer": 0}}, ["xlco.universal_layer = 0"]),
        ({"xlco": {"temperature": 0}}, ["xlco.temperature = 0"]),
        ({"xlco": {"temperature": float("nan")}}, ["xlco.temperature = nan"]),
        ({"xlco": {"pooling": "median"}}, ["xlco.pooling = 'median'", "'cls', 'mean' or 'max'"]),
        ({"xlco": {"queue_length": 31}}, ["xlco.queue_length = 31", "xlco.batch_size = 32"]),
        ({"xlco": {"momentum": {"value": 1.5}}}, ["xlco.momentum.value = 1.5", "equal to 1"]),
        ({"xlco": {"momentum": {"kind": "cosine"}}}, ["xlco.momentum.kind = 'cosine'", "'exponential'"]),
        ({"xlco": None}, ["xlco = None"]),
        ({"masking": {"probability": 0}}, ["masking.probability = 0"]),
        ({"masking": {"probability": 1.0}}, ["masking.probability = 1.0"]),
        ({"masking": {"mask_share": -0.1}}, ["masking.mask_share = -0.1"]),
        ({"data": {"language_exponent": 1.1}}, ["data.language_exponent = 1.1"]),
        ({"optimizer": {"learning_rate": 0}}, ["optimizer.learning_rate = 0"]),
        ({"optimizer": {"learning_rate": float("inf")}}, ["optimizer.learning_rate = inf", "finite"]),
        ({"optimizer": {"beta_2": 1.0}}, ["optimizer.beta_2 = 1.0"]),
        ({"optimizer": {"clip_norm": 0}}, ["optimizer.clip_norm = 0"]),
        ({"optimizer": {"accumulation_steps": 0}}, ["optimizer.accumulation_steps = 0"]),
        ({"steps": 10, "optimizer": {"warmup_steps": 10}}, ["optimizer.warmup_steps = 10", "below steps = 10"]),
        ({"seed": -1}, ["seed = -1"]),
    ],
)
def test_refused(tmp_path, values, messages):
    path = write(tmp_path, "own.yaml", yaml.safe_dump(values))
    with pytest.raises(InputError) as error:
        load_config(path)
    for message in (str(path), *messages):
        assert message in str(error.value)


def test_all_problems_at_once():
    with pytest.raises(InputError) as error:
        check_config({"stps": 1, "seed": -1, "xlco": {"temperature": 0}}, source="own.yaml")
    for message in ("stps", "seed = -1", "xlco.temperature = 0"):
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- steps\n- 5\n", "must hold `key: value` lines, not a list"),
        ("steps: [1\n", "is not valid YAML"),
        ("base: missing.yaml\n", "missing.yaml"),
        ("base: own.yaml\n", "is its own base"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_config(write(tmp_path, "own.yaml", text))


def test_bases_in_a_circle(tmp_path):
    write(tmp_path, "other.yaml", "base: own.yaml\n")
    with pytest.raises(InputError, match="own.yaml: is its own base"):
        load_config(write(tmp_path, "own.yaml", "base: other.yaml\n"))


@pytest.mark.parametrize("override", ["steps", "=5", "steps=[1", "xlco.temprature=1", "steps=0"])
def test_bad_overrides(tmp_path, override):
    path = write(tmp_path, "own.yaml", "steps: 20\noptimizer: {warmup_steps: 0}\n")
    with pytest.raises(InputError) as error:
        load_config(path, [override])
    assert override.split("=")[0] in str(error.value)


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load_config(write(tmp_path, "own.yaml", "# nothing\n")) == check_config({})


def test_overrides_in_one_text_are_refused():
    with pytest.raises(InputError, match=r'overrides = .steps=5.: must be a list of "key=value" texts'):
        load_config("tiny", "steps=5")
