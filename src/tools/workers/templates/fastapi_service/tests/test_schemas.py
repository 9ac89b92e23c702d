"""The rules of the fields."""

import pytest
from pydantic import ValidationError

from {{ package }} import models, schemas

Create = schemas.{{ name }}Create
Update = schemas.{{ name }}Update


def test_defaults_fill_what_is_left_out() -> None:
    draft = Create(name="First")
    assert (draft.name, draft.description, draft.status) == ("First", "", models.Status.DRAFT)


def test_spaces_around_a_name_are_dropped() -> None:
    assert Create(name="  First ").name == "First"


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "\x1b[0m", "x" * (models.MAX_NAME + 1)])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Create(name=name)


def test_texts_may_be_long_and_have_lines() -> None:
    draft = Create(name="x" * models.MAX_NAME, description="one\n\ttwo")
    assert (len(draft.name), draft.description) == (models.MAX_NAME, "one\n\ttwo")
    with pytest.raises(ValidationError):
        Create(name="x", description="x" * (models.MAX_DESCRIPTION + 1))


def test_a_change_is_what_was_given() -> None:
    assert Update.model_validate({}).changes() == {}
    assert Update.model_validate({"description": "text"}).changes() == {"description": "text"}
