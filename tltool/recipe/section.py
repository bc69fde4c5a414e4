"""Base class of all sections of a recipe, and the number types of their keys."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Fraction: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
Count: TypeAlias = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Base class of the sections: unknown keys are errors, instances are immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
