"""Further figures of a finding, flat enough to be read."""

from underhood.reports.audit.view import facts


def test_a_table_has_a_line_for_each_row() -> None:
    told = facts({"kinds": [{"pictures": 5, "what": "a band"}, {"pictures": 3, "what": "a spot"}], "p": 0.5})
    assert told == [
        ("kinds 1", "pictures: 5; what: a band"),
        ("kinds 2", "pictures: 3; what: a spot"),
        ("p", "0.5"),
    ]


def test_what_is_nested_is_named_by_its_way_and_what_is_empty_left_out() -> None:
    assert facts({"versions": {"torch": "2"}, "none": None, "no rows": []}) == [("versions torch", "2")]
