"""The rules of the fields."""

import unittest

from {{ package }}.models import MAX_NAME, {{ name }}Draft, Status, ValidationError


class DraftTest(unittest.TestCase):
    """Data from outside becomes a draft or is refused."""

    def problems(self, data: object) -> dict[str, str]:
        """Return what is wrong with ``data``."""
        with self.assertRaises(ValidationError) as caught:
            {{ name }}Draft.from_json(data)
        return caught.exception.fields

    def test_defaults_fill_what_is_left_out(self) -> None:
        self.assertEqual({{ name }}Draft.from_json({"name": "First"}), {{ name }}Draft("First", "", Status.DRAFT))

    def test_spaces_around_a_name_are_dropped(self) -> None:
        self.assertEqual({{ name }}Draft.from_json({"name": "  First "}).name, "First")

    def test_a_name_is_required(self) -> None:
        self.assertEqual(self.problems({}), {"name": "is required"})
        self.assertEqual(self.problems({"name": "   "}), {"name": "must not be empty"})

    def test_every_problem_is_told_at_once(self) -> None:
        found = self.problems({"name": 7, "status": "gone", "colour": "red", "description": "a\x00b"})
        self.assertEqual(set(found), {"name", "status", "colour", "description"})
        self.assertIn("draft, active, archived", found["status"])

    def test_a_name_may_be_long_but_not_too_long(self) -> None:
        self.assertEqual(len({{ name }}Draft.from_json({"name": "x" * MAX_NAME}).name), MAX_NAME)
        self.assertIn("name", self.problems({"name": "x" * (MAX_NAME + 1)}))

    def test_only_an_object_is_a_draft(self) -> None:
        cases: tuple[object, ...] = (None, [], "name", 1)
        for data in cases:
            with self.subTest(data=data):
                self.assertEqual(self.problems(data), {"body": "must be a JSON object"})

    def test_a_change_keeps_the_other_fields(self) -> None:
        draft = {{ name }}Draft("First", "text", Status.ACTIVE)
        self.assertEqual(draft.changed_by({"name": "Second"}), {{ name }}Draft("Second", "text", Status.ACTIVE))


if __name__ == "__main__":
    unittest.main()
