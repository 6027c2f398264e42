"""InfoXLM in Keras 3: cross-lingual language-model pre-training on TensorFlow, JAX and PyTorch.

Reading order: `tasks/` (what is learned) -> `losses/` and `contrast/` (the formulas) -> `training/pretrainer.py` (how
they are joined in one step) -> `data/` (where the batches come from) -> `runs/pretraining.py` (a whole run).
"""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports
from infoxlm_keras.version import __version__

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.building.from_lists import write_records as write_records
    from infoxlm_keras.config import PretrainingConfig as PretrainingConfig, load_config as load_config
    from infoxlm_keras.contrast.momentum import MomentumSchedule as MomentumSchedule
    from infoxlm_keras.conversion.tokenizers import load_tokenizer as load_tokenizer
    from infoxlm_keras.errors import InputError as InputError
    from infoxlm_keras.models.encoder import (
        build_masked_lm as build_masked_lm,
        hidden_state_model as hidden_state_model,
        hidden_states_model as hidden_states_model,
    )
    from infoxlm_keras.models.sizes import ENCODER_SIZES as ENCODER_SIZES, EncoderSize as EncoderSize
    from infoxlm_keras.pretrained import (
        PretrainedModel as PretrainedModel,
        PretrainingInfo as PretrainingInfo,
        load_pretrained as load_pretrained,
        save_pretrained as save_pretrained,
    )
    from infoxlm_keras.runs.dataset import training_dataset as training_dataset
    from infoxlm_keras.tasks.distillation import Distillation as Distillation
    from infoxlm_keras.tasks.masked_lm import MMLM as MMLM, TLM as TLM
    from infoxlm_keras.tasks.pretext_task import PretextTask as PretextTask
    from infoxlm_keras.tasks.replaced_tokens import MRTD as MRTD, TRTD as TRTD
    from infoxlm_keras.tasks.word_alignment import DWA as DWA
    from infoxlm_keras.tasks.xlco import XLCO as XLCO
    from infoxlm_keras.tokenizer import Tokenizer as Tokenizer
    from infoxlm_keras.training.optimizer import build_optimizer as build_optimizer
    from infoxlm_keras.training.pretrainer import InfoXLMPretrainer as InfoXLMPretrainer

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "building.from_lists": ("write_records",),
        "config": ("PretrainingConfig", "load_config"),
        "contrast.momentum": ("MomentumSchedule",),
        "errors": ("InputError",),
        "models.encoder": ("build_masked_lm", "hidden_state_model", "hidden_states_model"),
        "models.sizes": ("ENCODER_SIZES", "EncoderSize"),
        "pretrained": ("PretrainedModel", "PretrainingInfo", "load_pretrained", "save_pretrained"),
        "runs.dataset": ("training_dataset",),
        "tasks.distillation": ("Distillation",),
        "tasks.masked_lm": ("MMLM", "TLM"),
        "tasks.pretext_task": ("PretextTask",),
        "tasks.replaced_tokens": ("MRTD", "TRTD"),
        "tasks.word_alignment": ("DWA",),
        "tasks.xlco": ("XLCO",),
        "conversion.tokenizers": ("load_tokenizer",),
        "tokenizer": ("Tokenizer",),
        "training.optimizer": ("build_optimizer",),
        "training.pretrainer": ("InfoXLMPretrainer",),
    },
)
__all__ = [*__all__, "__version__"]
