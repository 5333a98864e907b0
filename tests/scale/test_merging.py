"""Shards in one folder: only of one run, and again where one of them is another than before."""

import pyarrow as pa
import pytest

from wsolrefine._shards import Shard, hash_of
from wsolrefine.scale.merging import check_ids, check_shards, copy_parts
from wsolrefine.scale.parts import done, part_name, read_part, write_part
from wsolrefine.scale.plan import Facts
from wsolrefine.scale.record import Record
from wsolrefine.scale.store import Store


def shard(folder, index, count=2, ids=("0", "1", "2", "3"), **changed):
    """Write the labels of a shard; return its folder and what it is."""
    store, share = Store(folder / str(index)), Shard(index, count)
    mine = [identity for identity in ids if share.has(identity)]
    for number, identity in enumerate(mine):
        write_part(store, number, pa.table({"id": [identity], "label": [1]}), 1, 0)
    facts = Facts("files", len(mine), len(mine), False, ["wren"])
    settings = {"threshold": 0.4, "shard": str(share)} | changed.pop("settings", {})
    return store, Record(settings, "0" * 64, facts._replace(**changed), "1.0")


def test_shards_in_any_order_are_one_run(tmp_path):
    both = [shard(tmp_path, index) for index in (1, 0)]
    found = check_shards(both)
    assert found.stores == [both[1][0], both[0][0]]
    assert found.record.facts == Facts("files", 4, 4, False, ["wren"])
    assert found.record.settings == {"threshold": 0.4, "shard": None}
    target = Store(tmp_path / "all")
    assert [part.number for part in copy_parts(found, target)] == [0, 1, 2, 3] == done(target)
    ids = [read_part(target, number)[1].column("id").to_pylist() for number in range(4)]
    expected = sorted("0123", key=lambda name: (hash_of(name) % 2, name))
    assert ids == [[name] for name in expected]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": {"threshold": 0.5}}, "threshold: 0.4 then, 0.5 now"),
        ({"numbered": True}, "integers as ids: False then, True now"),
        ({"labels": None}, "labels of the source: 1 then, None now"),
        ({"kind": "tar"}, "kind of source: files then, tar now"),
        ({"parts": 9}, "expected all 9 parts, got . less"),
    ],
)
def test_shards_of_other_runs(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        check_shards([shard(tmp_path, 0), shard(tmp_path, 1, **changed)])


def test_a_shard_that_was_labeled_anew_is_copied_again(tmp_path):
    found = check_shards([shard(tmp_path, index) for index in range(2)])
    target = Store(tmp_path / "all")
    list(copy_parts(found, target))
    before = target.read(part_name(3))
    table = pa.table({"id": ["z"] * 99, "label": [*range(99)]})
    write_part(found.stores[0], 0, table, 1, 0)
    list(copy_parts(found, target))
    assert read_part(target, 0)[1].num_rows == 99
    assert target.read(part_name(3)) == before


def test_an_image_in_two_shards(tmp_path):
    stores = [shard(tmp_path, index)[0] for index in range(2)]
    check_ids(stores)
    write_part(stores[1], 7, pa.table({"id": ["a"], "label": [1]}), 1, 0)
    write_part(stores[0], 7, pa.table({"id": ["a"], "label": [1]}), 1, 0)
    with pytest.raises(ValueError, match="expected each image in one part, got 1 of them"):
        check_ids(stores)
