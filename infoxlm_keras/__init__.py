"""InfoXLM in Keras 3: cross-lingual language-model pre-training on TensorFlow, JAX and PyTorch.

Reading order: `tasks/` (what is learned) -> `losses/` and `contrast/` (the formulas) -> `training/pretrainer.py` (how
they are joined in one step) -> `data/` (where the batches come from) -> `runs/pretraining.py` (a whole run).
"""

from infoxlm_keras.lazy import lazy_exports
from infoxlm_keras.version import __version__

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "config": ("PretrainingConfig", "load_config"),
        "contrast.momentum": ("MomentumSchedule",),
        "errors": ("InputError",),
        "models.encoder": ("build_masked_lm", "hidden_state_model", "hidden_states_model"),
        "models.sizes": ("ENCODER_SIZES", "EncoderSize"),
        "pretrained": ("PretrainedModel", "PretrainingInfo", "load_pretrained", "save_pretrained"),
        "tasks.masked_lm": ("MMLM", "TLM"),
        "tasks.pretext_task": ("PretextTask",),
        "tasks.xlco": ("XLCO",),
        "conversion.tokenizers": ("load_tokenizer",),
        "tokenizer": ("Tokenizer",),
        "training.optimizer": ("build_optimizer",),
        "training.pretrainer": ("InfoXLMPretrainer",),
    },
)
__all__ = [*__all__, "__version__"]
