"""The ``--classes`` option where it may mean two things, and where a number is too long."""

import pytest

from wsolrefine.cli.refine.classes import parse_classes

DIGITS = ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("4,1", DIGITS, "index:4 or index:0, got 4, which is also the name of class 0"),
        ("2,04,1", DIGITS, "index:1 or index:3, got 1, which is also the name of class 3"),
        ("1", ["1, one", "two"], "index:1 or index:0, got 1, which is also the name of class 0"),
        ("0,1", ["0,1", "x"], "index:1 or index:0, got 1, which is also the name of class 0"),
        ("0", ["x", "0", "0"], "index:0 or index:1 or index:2, got 0, .* name of classes 1, 2"),
        ("top2", ["x", "Top2", "y"], "index:1, got top2, which is also the name of class 1"),
    ],
)
def test_what_may_be_an_index_and_a_name_is_refused(text, names, expected):
    with pytest.raises(ValueError, match=f"^classes: expected {expected}"):
        parse_classes(text, names, len(names))


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("2", DIGITS, [2]),  # both are one class
        ("index:4,INDEX: 1", DIGITS, [4, 1]),
        ("index:1", ["index:1", "x"], [1]),
        ("1999", ["1998", "1999"], [1]),  # no index
        ("top3", ["x", "top3", "y"], None),
        ("index:1", None, [1]),
        ("0,1", None, [0, 1]),
    ],
)
def test_what_can_mean_only_one_thing_is_taken(text, names, expected):
    if expected is None:
        with pytest.raises(ValueError, match="index:1"):
            parse_classes(text, names, 3)
    else:
        assert parse_classes(text, names, len(names or "ab")) == expected


@pytest.mark.parametrize("text", ["top" + "9" * 5000, "9" * 5000, "2," + "9" * 5000, "x" * 5000])
@pytest.mark.parametrize("names", [None, DIGITS])
def test_a_value_that_is_too_long_is_named_in_one_short_line(text, names):
    with pytest.raises(ValueError, match=r"^classes: expected .*, got .*\.\.\.") as caught:
        parse_classes(text, names, 5)
    assert len(str(caught.value)) < 300
