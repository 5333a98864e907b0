"""Parts are written once, when all their batches have come, whatever their order."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsolrefine.scale.parts import BatchRows, describe_part, done, part_name, read_part, write_parts
from wsolrefine.scale.record import Totals, totals
from wsolrefine.scale.store import Store


def batch(part, number, whole):
    table = pa.table({"id": [f"{part}.{number}"] * (number + 1)})
    return BatchRows(part, number, whole, 2, number % 2, table)


@st.composite
def orders(draw):
    """Batches of a few parts in any order, some of them more than once.

    Of some parts only the last batch says how many there are, as of a tar.
    """
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    found = []
    for part, whole in enumerate(sizes):
        known = draw(st.booleans())
        found += [batch(part, n, whole if known or n == whole - 1 else None) for n in range(whole)]
    again = draw(st.lists(st.sampled_from(found), max_size=3))
    return sizes, draw(st.permutations(found + again))


@given(orders())
def test_nothing_is_lost_and_nothing_is_there_twice(case):
    sizes, found = case
    store = Store("memory://parts")
    for number in done(store):
        store.remove(part_name(number))
    written = list(write_parts(store, iter(found)))
    assert sorted(part.number for part in written) == done(store) == list(range(len(sizes)))
    for part, whole in enumerate(sizes):
        known, table = read_part(store, part)
        expected = [f"{part}.{n}" for n in range(whole) for _ in range(n + 1)]
        assert table.column("id").to_pylist() == expected
        assert known == describe_part(store, part)
        assert known[1:] == (2 * whole, whole // 2, len(expected))
        assert known in written
    rows = sum(n * (n + 1) // 2 for n in sizes)
    errors = sum(n // 2 for n in sizes)
    assert totals(store) == Totals(len(sizes), 2 * sum(sizes), errors, rows)


def test_a_part_is_only_written_when_it_is_whole(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="expected all batches of parts 1, got some of them"):
        list(write_parts(store, [batch(0, 0, 1), batch(1, 0, 2)]))
    assert done(store) == [0]


def test_another_parquet_file(tmp_path):
    (tmp_path / "labels").mkdir()
    pq.write_table(pa.table({"id": [1]}), tmp_path / "labels/000000.parquet")
    (tmp_path / "labels/notes.txt").write_text("mine")
    assert done(Store(tmp_path)) == [0]
    with pytest.raises(ValueError, match=r"000000\.parquet: expected rows of wsolrefine"):
        describe_part(Store(tmp_path), 0)
