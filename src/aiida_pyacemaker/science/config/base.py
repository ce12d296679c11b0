"""What all settings share: frozen models that refuse unknown keys, and one line for what is wrong."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra='forbid', frozen=True)


def check_settings(model: type[Settings], values: dict[str, Any], port: str) -> str | None:
    """Return one line that names port, key, value and what is allowed, or ``None`` when ``values`` are fine."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        rows = [f'{port}.{".".join(map(str, row["loc"]))} = {row["input"]!r}: {row["msg"]}' for row in error.errors()]
        return '; '.join(rows)
    return None
