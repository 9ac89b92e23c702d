"""What clients send and get, and the rules of the fields."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from . import models


def _without_control_characters(text: str) -> str:
    if any(ord(character) < ord(" ") and character not in "\n\t" for character in text):
        raise ValueError("must not hold control characters")
    return text


_NameText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=models.MAX_NAME),
    AfterValidator(_without_control_characters),
]
_DescriptionText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=models.MAX_DESCRIPTION),
    AfterValidator(_without_control_characters),
]


class {{ name }}Create(BaseModel):
    """What makes {{ a_human }}, or replaces it."""

    model_config = ConfigDict(extra="forbid")

    name: _NameText
    description: _DescriptionText = ""
    status: models.Status = models.Status.DRAFT


class {{ name }}Update(BaseModel):
    """What changes; fields that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    # None of them may be null. What the factories make is never used, and does not show up in the API's description.
    name: _NameText = Field(default_factory=str)
    description: _DescriptionText = Field(default_factory=str)
    status: models.Status = Field(default_factory=lambda: models.Status.DRAFT)

    def changes(self) -> dict[str, Any]:
        """Return the fields that were given."""
        return self.model_dump(exclude_unset=True)


class {{ name }}Read(BaseModel):
    """{{ a_human_upper }} as clients see it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    description: str
    status: models.Status
    created_at: datetime
    updated_at: datetime


class {{ name }}Page(BaseModel):
    """A part of the list, and how long the whole list is."""

    items: list[{{ name }}Read]
    total: int
    limit: int
    offset: int


class Health(BaseModel):
    """The service is up and reaches its database."""

    status: Literal["ok"] = "ok"


class Problem(BaseModel):
    """What went wrong; `fields` says it for each field of the body."""

    code: str
    message: str
    fields: dict[str, str] | None = None


class ProblemAnswer(BaseModel):
    """The form of every error."""

    error: Problem
