"""The base of all settings sections, and the way from a component's own defaults to them."""

import inspect
import types
from collections.abc import Iterable
from typing import Annotated, Any

import pydantic
import pydantic_core

# Steps are counted in int32, and no size of a model or a batch is larger. Strict: `true` is no number.
LARGEST = 2**31 - 1
PositiveInt = Annotated[int, pydantic.Field(gt=0, le=LARGEST, strict=True)]
NonNegativeInt = Annotated[int, pydantic.Field(ge=0, le=LARGEST, strict=True)]


class OneOf:
    """Annotates a text that must be one of some names: `Annotated[str, OneOf(POOLINGS)]`.

    pydantic checks it as it checks a `Literal` of these names, whose members a type checker could not know.

    Args:
        names: iterable of str.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> pydantic_core.CoreSchema:
        return pydantic_core.core_schema.literal_schema(list(self.names))


class Settings(pydantic.BaseModel):
    """Base of all sections: no unknown key passes, values do not change after the check."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TaskSettings(Settings):
    """What every pretext task has: samples a step (before accumulation) and its factor in the loss."""

    batch_size: PositiveInt = 32
    weight: pydantic.NonNegativeFloat = 1.0


class HostedTaskSettings(Settings):
    """What a pretext task has that uses another one's batch: its factor in the loss."""

    weight: pydantic.NonNegativeFloat = 1.0


def defaults_of(component: Any) -> types.SimpleNamespace:
    """The defaults that a class or function declares, so that settings need not repeat them.

    Args:
        component: a class or a function; of a class the parameters of its constructor are read.

    Returns:
        Namespace with an attribute for each parameter that has a default.

    Example:
    ```python
    defaults_of(XLCO).temperature  # 0.25
    ```
    """
    parameters = inspect.signature(component).parameters.values()
    empty = inspect.Parameter.empty
    return types.SimpleNamespace(**{each.name: each.default for each in parameters if each.default is not empty})
