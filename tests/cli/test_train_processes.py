"""``train`` starts its processes itself; what a launcher has left in the environment is refused."""

import pytest

from tests.support.training import one_thread  # noqa: F401
from wsolrefine.cli.train import processes
from wsolrefine.cli.train.processes import RANKS, SIZES, is_first_process, starting_others
from wsolrefine.cli.train.trainer import OwnProcesses


@pytest.fixture
def no_launcher(monkeypatch):
    for name in (*RANKS, *processes.OTHER_RANKS, *SIZES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_launcher")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "1") for name in (*RANKS, *processes.OTHER_RANKS)),
        *((name, "2") for name in SIZES),
        *((name, value) for name in ("RANK", "WORLD_SIZE") for value in ("abc", "", "-1", "²")),
        ("WORLD_SIZE", "0"),
    ],
)
def test_a_variable_of_several_processes_is_refused(train, tmp_path, monkeypatch, name, value):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/losses.csv").write_text("mine")
    monkeypatch.setenv(name, value)
    expected = int(name in SIZES)
    said = train("csoa", "--epochs", 1, code=2)
    start = f"Error: {name}: expected {expected}, or no such variable in the environment, got "
    assert said.startswith(f"{start}{value!r}: ")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["losses.csv"]
    assert (tmp_path / "run/losses.csv").read_text() == "mine"


@pytest.mark.usefixtures("no_launcher")
def test_a_launcher_of_one_process_changes_nothing(train, tmp_path, monkeypatch):
    for name in (*RANKS, *processes.OTHER_RANKS):
        monkeypatch.setenv(name, "0")
    for name in SIZES:
        monkeypatch.setenv(name, "1")
    train("csoa", "--epochs", 1)
    found = {path.name for path in (tmp_path / "run").iterdir()}
    assert found >= {"csoa.safetensors", "run.json", "losses.csv"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other/losses.csv").write_text("mine")
    train("csoa", "--epochs", 1, out=tmp_path / "other", code=2)
    assert (tmp_path / "other/losses.csv").read_text() == "mine"


@pytest.mark.usefixtures("no_launcher")
def test_a_rank_of_lightning_itself_does_not_matter(train, tmp_path, monkeypatch):
    """Lightning keeps the rank of whatever ran before in this process."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    train("csoa", "--epochs", 1)
    assert (tmp_path / "run/csoa.safetensors").exists()
    assert (tmp_path / "run/run.json").exists()


@pytest.mark.usefixtures("no_launcher")
def test_variables_that_change_the_trainer_are_refused(train, tmp_path, monkeypatch):
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "1")
    said = train("csoa", "--epochs", 1, code=2)
    assert said.startswith("Error: PL_TRAINER_LIMIT_TRAIN_BATCHES: expected no such variable")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", RANKS)
def test_a_rank_that_lightning_cannot_read_is_named(call, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "abc")
    said = call("refine", tmp_path, "--recipe", tmp_path / "none", code=2)
    assert f"{name}: expected an integer, or no such variable in the environment, got 'abc'" in said


def test_only_what_training_starts_is_no_first_process():
    assert is_first_process()
    with starting_others():
        assert not is_first_process()
        with starting_others():
            pass
        assert not is_first_process()
    assert is_first_process()


def test_the_first_process_takes_nothing_from_the_environment(monkeypatch):
    values = {"MASTER_ADDR": "elsewhere", "MASTER_PORT": "1", "LOCAL_RANK": "3", "NODE_RANK": "2"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    first, other = OwnProcesses(first=True), OwnProcesses(first=False)
    assert not first.creates_processes_externally
    assert (first.main_address, first.local_rank(), first.node_rank()) == ("127.0.0.1", 0, 0)
    assert first.main_port == first.main_port != 1
    assert other.creates_processes_externally
    assert (other.main_port, other.local_rank(), other.node_rank()) == (1, 3, 0)
