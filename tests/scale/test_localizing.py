"""Which classes of an image are mapped: those of the source, each once, with its numbers."""

from functools import partial

import pytest

from wsolrefine.cli.label.classes import class_index
from wsolrefine.scale.items import Item
from wsolrefine.scale.localizing import Chosen, Classes

INDEX = partial(class_index, names=["wren", "crane", "kite"], number=3)


@pytest.mark.parametrize(
    ("classes", "item", "chosen"),
    [
        (Classes([2, 0]), Item("a", "a", ("wren",), (7,)), Chosen([2, 0], None)),
        (Classes(5), Item("a", "a", ("wren",), (7,)), None),
        (Classes(None, INDEX), Item("a", "a", ("kite", "wren")), Chosen([2, 0], None)),
        (Classes(None, INDEX), Item("a", "a", ("kite", "wren"), (9, 7)), Chosen([2, 0], (9, 7))),
        # Two categories of one name, or a name and its index, are one class.
        (Classes(None, INDEX), Item("a", "a", ("kite", "kite"), (9, 7)), Chosen([2], (9,))),
        (Classes(None, INDEX), Item("a", "a", ("kite", "index:2")), Chosen([2], None)),
        (Classes(None, INDEX, needed=False), Item("a", "a"), None),
    ],
)
def test_classes_of_an_image(classes, item, chosen):
    assert classes.of(item) == chosen


@pytest.mark.parametrize("labels", [None, ()])
def test_no_class(labels):
    with pytest.raises(ValueError, match="the source names no class"):
        Classes(None, INDEX).of(Item("a", "a", labels))
