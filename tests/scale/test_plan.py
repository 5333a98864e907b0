"""The plan: every image in one part, the same in every run, and no id twice."""

import itertools
import os
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scale.sources import write_folder
from wsolrefine._shards import Shard, hash_of, parse_shard
from wsolrefine.scale import plan as module
from wsolrefine.scale.items import Item
from wsolrefine.scale.plan import (
    LEAST_BATCHES,
    PLAN,
    TASKS,
    TASKS_OF_WORKER,
    Plan,
    batches_in_task,
    write_plan,
)
from wsolrefine.scale.sources import Source, find
from wsolrefine.scale.store import Store

HASH = 204653242225689059
"""That of photos/1.jpg: shards of two machines must agree."""
NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, unique=True
)


def written(store, items, kind="files", size=2, shard=None):
    facts = write_plan(store, Source(kind, iter(items)), size, shard)
    with Plan(store) as plan:
        return facts, list(plan)


@given(names=NAMES, size=st.integers(1, 5), seed=st.integers(0, 9))
def test_the_parts_together_are_the_source(tmp_path_factory, names, size, seed):
    store = Store("memory://plan")
    labels = [None, (), ("a",), ("index:3", "b")]
    items = [Item(n, f"/x/{n}", labels[(i + seed) % 4], None) for i, n in enumerate(names)]
    facts, parts = written(store, items, size=size)
    assert list(itertools.chain(*parts)) == items
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert facts.items == len(items)
    assert facts.parts == len(parts)
    named = sorted({label for item in items for label in item.labels or ()})
    assert facts.labels == (named if any(i.labels is not None for i in items) else None)
    with Plan(store) as plan:
        tasks = list(plan.tasks(range(facts.parts), "files", batch=2, batches=1))
    assert list(itertools.chain(*(task.items for task in tasks))) == items
    for number, group in itertools.groupby(tasks, key=lambda task: task.part):
        group = list(group)
        assert [task.first for task in group] == list(range(len(group)))
        assert {task.batches for task in group} == {-(-len(parts[number]) // 2)}


@given(names=NAMES, count=st.integers(1, 4))
def test_shards_divide_the_source(names, count):
    items = [Item(name, name) for name in names]
    found = []
    for index in range(count):
        store, shard = Store("memory://shards"), Shard(index, count)
        facts, parts = written(store, items, shard=shard)
        mine = list(itertools.chain(*parts))
        assert facts.items == len(mine) == sum(shard.has(name) for name in names)  # perhaps 0
        found += mine
    assert sorted(found) == sorted(items)


def test_all_shards_know_all_labels():
    items = [Item(str(i), "x", (f"kind {i}",) if i == 3 else None) for i in range(9)]
    for index in range(4):
        facts, _ = written(Store("memory://known"), items, shard=Shard(index, 4))
        assert facts.labels == ["kind 3"]


def test_a_hash_is_the_same_everywhere():
    assert hash_of("photos/1.jpg") == HASH
    assert hash_of(5) == hash_of("5")
    assert hash_of("\udcff") != hash_of("\udcfe")
    for wrong in ("8/8", "1", "-1/3", "a/b", "1/0", "", "1/2/3"):
        with pytest.raises(ValueError, match="shard: expected i/n, with i from 0 to n - 1"):
            parse_shard(wrong)


def test_the_plan_is_the_same_in_every_run(tmp_path):
    write_folder(tmp_path / "photos")
    for name in ("a", "b"):
        write_plan(Store(tmp_path / name), find(str(tmp_path / "photos")), 2)
    assert (tmp_path / "a" / PLAN).read_bytes() == (tmp_path / "b" / PLAN).read_bytes()


def test_numbers_are_kept():
    store = Store("memory://numbers")
    facts, parts = written(store, [Item(3, "a", ("x",), (7,)), Item(-1, "b")])
    assert facts.numbered
    assert parts == [[Item(3, "a", ("x",), (7,)), Item(-1, "b")]]
    with pytest.raises(ValueError, match=r"expected ids of one kind, got 3 and 'c'"):
        written(store, [Item(3, "a"), Item("c", "b")])


@pytest.mark.parametrize("wrong", [None, 1.5, True, 2**63, ["a"]])
def test_an_id_of_another_kind(wrong):
    with pytest.raises(ValueError, match="expected ids that are text or integers of 64 bits, got"):
        written(Store("memory://wrong"), [Item(wrong, "a")])


def test_a_name_that_is_not_utf_8():
    path = os.fsdecode(b"/x/\xff.png")
    facts, parts = written(Store("memory://bytes"), [Item(os.fsdecode(b"\xff.png"), path)])
    assert facts.items == 1
    assert parts == [[Item("\\udcff.png", path)]]


def test_an_id_that_comes_twice():
    store = Store("memory://twice")
    items = [Item(str(i), "x") for i in range(9)]
    with pytest.raises(ValueError, match="expected ids of their own, got '4' twice"):
        written(store, [*items, Item("4", "y")])
    assert not store.exists(PLAN)
    with mock.patch.object(module, "hash_of", return_value=1):  # different ids of one hash
        assert written(store, items)[0].items == 9
        with pytest.raises(ValueError, match="got '0' twice"):
            written(store, [*items, Item("0", "y")])


def test_no_image():
    with pytest.raises(ValueError, match="SOURCE: expected images, got none"):
        written(Store("memory://none"), [])


@given(st.integers(1, 10**7), st.integers(1, 64), st.integers(1, 256))
def test_tasks_are_few_but_several_for_each_worker(images, batch, workers):
    batches = batches_in_task(images, batch, workers)
    tasks = -(-images // (batches * batch))
    assert batches >= LEAST_BATCHES
    assert tasks <= max(TASKS, TASKS_OF_WORKER * workers)
    if batches > LEAST_BATCHES:  # as small as that allows
        assert images > (batches - 1) * batch * max(TASKS, TASKS_OF_WORKER * workers)


def test_containers_are_parts_of_their_own():
    items = [Item("a.tar", "/a.tar"), Item("b.tar", "/b.tar")]
    store = Store("memory://tars")
    facts, parts = written(store, items, kind="tar", size=5)
    assert parts == [[items[0]], [items[1]]]
    with Plan(store) as plan:
        tasks = list(plan.tasks([1], facts.kind, 2, 2))
        assert [(task.part, task.first, task.batches, task.items) for task in tasks] == [
            (1, 0, None, [items[1]])
        ]
        with pytest.raises(IndexError):
            plan[2]
