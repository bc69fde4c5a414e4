"""Base class of all sections of a recipe, and the number types of their keys."""

from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Fraction: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
Count: TypeAlias = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Base class of the sections: unknown keys are errors, instances are immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Reject true and false for a number, which pydantic reads as 1 and 0."""
        if isinstance(value, bool):
            kinds = list(_kinds(cls.model_fields[str(info.field_name)].annotation))
            if bool not in kinds and (int in kinds or float in kinds):
                raise ValueError("Input should be a number")
        return value


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types in an annotation such as ``Annotated[float, Field(gt=0)] | None``."""
    yield annotation
    for inside in get_args(annotation):
        yield from _kinds(inside)
