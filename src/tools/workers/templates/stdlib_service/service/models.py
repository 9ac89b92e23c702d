"""The fields of {{ a_human }} and the rules they obey.

Data from outside becomes a :class:`{{ name }}Draft` here or is refused with every
problem at once; nothing else in the package checks fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

MAX_NAME = 200
MAX_DESCRIPTION = 2000


class Status(StrEnum):
    """Where {{ a_human }} is in its life."""

    DRAFT = "draft"
    ACTIVE = "active"
    ARCHIVED = "archived"


class ValidationError(ValueError):
    """Data that breaks rules; ``fields`` says for each field what is wrong."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {problem}" for field, problem in fields.items()))
        self.fields = dict(fields)


@dataclass(frozen=True, slots=True)
class {{ name }}Draft:
    """What a client may say about {{ a_human }}."""

    name: str
    description: str = ""
    status: Status = Status.DRAFT

    @classmethod
    def from_json(cls, data: object) -> {{ name }}Draft:
        """Read a whole draft; fields that are left out get their defaults."""
        values = _checked(data)
        if "name" not in values:
            raise ValidationError({"name": "is required"})
        return cls(**values)  # type: ignore[arg-type]

    def changed_by(self, data: object) -> {{ name }}Draft:
        """Return this draft with the fields that ``data`` gives."""
        return {{ name }}Draft(**{**asdict(self), **_checked(data)})


@dataclass(frozen=True, slots=True)
class {{ name }}:
    """{{ a_human_upper }} as it is stored. Times are ISO 8601 in UTC."""

    id: int
    name: str
    description: str
    status: Status
    created_at: str
    updated_at: str

    def draft(self) -> {{ name }}Draft:
        """Return the part that a client may change."""
        return {{ name }}Draft(self.name, self.description, self.status)

    def to_json(self) -> dict[str, object]:
        """Return the form that clients see."""
        return asdict(self)


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if len(value) > longest:
        raise ValueError(f"must have at most {longest} characters")
    if any(ord(character) < 32 and character not in "\n\t" for character in value):
        raise ValueError("must not hold control characters")
    return value.strip()


def _name(value: object) -> str:
    text = _text(value, MAX_NAME)
    if not text:
        raise ValueError("must not be empty")
    return text


def _description(value: object) -> str:
    return _text(value, MAX_DESCRIPTION)


def parse_status(value: object) -> Status:
    """Return the status of this name, or raise ``ValueError``."""
    try:
        return Status(value)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Status)}") from None


_RULES: dict[str, Callable[[object], object]] = {
    "name": _name,
    "description": _description,
    "status": parse_status,
}


def _checked(data: object) -> dict[str, object]:
    if not isinstance(data, Mapping):
        raise ValidationError({"body": "must be a JSON object"})
    values: dict[str, object] = {}
    problems: dict[str, str] = {}
    for field, value in data.items():
        rule = _RULES.get(field)
        if rule is None:
            problems[str(field)] = "is not a field"
            continue
        try:
            values[field] = rule(value)
        except ValueError as error:
            problems[field] = str(error)
    if problems:
        raise ValidationError(problems)
    return values
