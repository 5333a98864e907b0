"""The lowest versions that are promised are those that CI tries."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TOOLS = {"test", "docs"}
"""Extras whose versions are no promise to users."""


def key(name):
    return re.sub("[-_.]+", "-", name).lower()


def pinned(file):
    """Return the versions of a file of constraints by package."""
    lines = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / file).read_text("utf-8"), re.M)
    return {key(name): version for name, version in lines}


def lower_bounds(requirements):
    """Return the lowest version of each package that requirements allow."""
    found = {}
    for requirement in requirements:
        name, version = re.fullmatch(
            r"([\w.-]+)(?:\[[\w,]+\])?(?:[>=]=([^\s,]+)(?:,<\S+)?)?", requirement
        ).groups()
        if name != PROJECT["name"]:  # an extra of our own
            found[key(name)] = version
    return found


def test_the_lowest_versions_are_those_of_the_project():
    extras = PROJECT["optional-dependencies"]
    promised = [
        requirement
        for requirements in (
            PROJECT["dependencies"],
            *(extras[name] for name in extras.keys() - TOOLS - {"all"}),
        )
        for requirement in requirements
    ]
    lowest = pinned("constraints-lowest.txt")
    tools = lower_bounds(extras["test"])
    assert lowest == lower_bounds(promised) | {name: lowest.get(name) for name in tools}


def test_the_test_tools_are_the_same_in_both_files():
    usual, lowest = pinned("constraints.txt"), pinned("constraints-lowest.txt")
    for name in lower_bounds(PROJECT["optional-dependencies"]["test"]):
        assert lowest[name] == usual[name]


def test_every_requirement_has_a_bound_and_a_pinned_version():
    requirements = [*PROJECT["dependencies"]]
    for extra in PROJECT["optional-dependencies"].values():
        requirements += extra
    usual = pinned("constraints.txt")
    for name, version in lower_bounds(requirements).items():
        assert version, f"{name}: expected a lower bound"
        assert name in usual or name == "mkdocstrings"


def test_the_pythons_are_the_same_everywhere():
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    tried = re.search(r"python: \[(.*)\]", workflow)[1]
    assert classifiers == re.findall(r"3\.\d+", tried)
    assert PROJECT["requires-python"] == f">={classifiers[0]}"
