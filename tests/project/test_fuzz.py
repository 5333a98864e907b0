"""The public functions on arguments that nobody thought of.

A function returns, or raises a TypeError or a ValueError that names the argument; finite numbers
give no NaN and no gradient that is not finite; no argument is changed.
``HYPOTHESIS_PROFILE=search`` tries more than 30,000 calls; with ``-s`` their number is printed.
"""

import collections
import re
from dataclasses import fields, is_dataclass

import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch.utils._pytree import tree_leaves

from tests.support.hostile import (
    OPTIONS,
    SMALLEST,
    VALUES,
    altered,
    anything,
    generator,
    leaves,
    replaced,
    tensors,
    with_bad_numbers,
)
from tests.support.public_functions import FUNCTIONS, OTHERS
from tests.support.strategies import SEEDS

CALLED = collections.Counter()
ALL = [function for functions in FUNCTIONS.values() for function in functions]
CALLS = 45_000
SEARCH = settings.default.max_examples > 100
# Of five tests for each function; otherwise so few that all of them take half a minute.
settings_of_a_fuzz = settings(max_examples=-(-CALLS // (5 * len(ALL))) if SEARCH else 8)


def fuzz(test):
    """Run a test for each function, with arguments drawn from ``data``."""
    test = settings_of_a_fuzz(given(data=st.data())(test))
    return pytest.mark.parametrize("function", ALL, ids=str)(test)


@pytest.fixture(scope="module", autouse=True)
def number_of_calls():
    """Print at the end how often functions were called, and how often they refused it."""
    yield
    print(f"\n{CALLED['calls']} calls, {CALLED['refused']} of them refused")  # noqa: T201


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda module: module.__name__)
def test_every_public_function_is_listed(module):
    listed = [str(function) for function in FUNCTIONS[module]]
    assert len(listed) == len({*listed})
    assert {*listed} | OTHERS[module] == {*module.__all__}


def draw_call(data, function, values_of=tuple(VALUES), dtypes=None, unit=()):
    """Draw legal arguments: tensors in the order of the call, and options.

    Tensors named in ``unit`` hold numbers from 0 to 1.
    """
    sizes, dtype = {}, data.draw(st.sampled_from(dtypes or function.dtypes))
    specs = [f"unit: {spec}" if name in unit else spec for name, spec in function.tensors.items()]
    inputs = [data.draw(tensors(spec, sizes, dtype, values_of)) for spec in specs]
    options = {
        name: data.draw(strategy)
        for name, strategy in function.options.items()
        if name in function.required or data.draw(st.booleans())
    }
    return function.prepare(*inputs), options


def bits(tensor):
    """Return a copy of what a tensor holds, bit by bit; None for a kind without plain memory."""
    plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_nested
    if not plain or tensor.is_quantized or type(tensor).__name__ not in ("Tensor", "Parameter"):
        return None
    values = tensor.detach().resolve_neg().resolve_conj().flatten()
    return values.clone(memory_format=torch.contiguous_format).view(torch.uint8)


def run(function, inputs, options):
    """Call a function; None if it refused an argument by its name. Arguments stay as they were."""
    before = [(leaf, bits(leaf)) for leaf in leaves([*inputs, *options.values()])]
    CALLED["calls"] += 1
    try:
        result = function.call(*inputs, **options)
    except (TypeError, ValueError) as error:
        named = "|".join(map(re.escape, function.names))
        message = str(error)
        assert re.match(rf"({named})(\[\d+\])*: expected ", message), message
        event("refused")
        CALLED["refused"] += 1
        result = None
    for leaf, held in before:
        assert held is None or torch.equal(bits(leaf), held)
        assert not leaf.is_leaf or leaf.grad is None
    return result


def results(value):
    """Return the tensors in a result."""
    if is_dataclass(value):
        value = [getattr(value, one.name) for one in fields(value) if one.name != "images"]
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def in_unit_interval(value):
    floats = [leaf for leaf in results(value) if leaf.is_floating_point()]
    return all(((leaf >= 0) & (leaf <= 1)).logical_or(leaf.isnan()).all() for leaf in floats)


@fuzz
def test_finite_arguments_of_any_size_and_layout(function, data):
    inputs, options = draw_call(data, function)
    result = run(function, inputs, options)
    if result is None:
        return
    if any(leaf.isnan().any() for leaf in results(result)):
        assert function.nothing(*inputs)
    if function.unit:
        assert in_unit_interval(result)


@fuzz
def test_numbers_that_are_not_finite(function, data):
    inputs, options = draw_call(data, function)
    seed = data.draw(SEEDS)
    inputs = [
        replaced(value, lambda leaf: with_bad_numbers(leaf, seed)) if chosen else value
        for value in inputs
        for chosen in [data.draw(st.booleans())]
    ]
    result = run(function, inputs, options)
    if function.unit == "always":
        assert not any(leaf.isnan().any() for leaf in results(result))
        assert in_unit_interval(result)


@fuzz
def test_one_argument_of_another_kind(function, data):
    inputs, options = draw_call(data, function)
    name = data.draw(st.sampled_from([*range(len(inputs)), *function.options]))
    if isinstance(name, int):
        near = data.draw(st.booleans())
        inputs[name] = data.draw(altered(inputs[name]) if near else anything())
    else:
        options[name] = data.draw(st.sampled_from(OPTIONS))
    run(function, inputs, options)


@fuzz
def test_tensors_without_values(function, data):
    """The result has none either, and the shapes of the result of tensors with values."""
    inputs, options = draw_call(data, function)
    some = [data.draw(st.booleans()) or data.draw(st.booleans()) for _ in inputs]
    without = [
        replaced(value, lambda leaf: leaf.detach().to("meta")) if chosen else value
        for value, chosen in zip(inputs, some, strict=True)
    ]
    result = run(function, without, options)
    if result is not None and any(leaf.is_meta for leaf in leaves(without)):
        expected = run(function, inputs, options)
        assert all(leaf.is_meta for leaf in results(result))
        assert [(leaf.shape, leaf.dtype) for leaf in results(result)] == [
            (leaf.shape, leaf.dtype) for leaf in results(expected)
        ]


@fuzz
def test_gradients_of_finite_arguments_are_finite(function, data):
    """Also where a function is not smooth: at ties, at constant maps, at zero features.

    Half precision is left out, because a gradient may be larger than its largest number, and so are
    numbers of the smallest sizes for the same reason.
    """
    values_of = [values for values in VALUES if values not in SMALLEST]
    dtypes = [dtype for dtype in function.dtypes if dtype != torch.float16]
    inputs, options = draw_call(data, function, values_of, dtypes, function.linear)
    inputs = [replaced(value, with_gradient) for value in inputs]
    result = run(function, inputs, options)
    if result is None:
        return
    smooth = [leaf for leaf in results(result) if leaf.requires_grad]
    if not smooth:
        return
    g = generator(data.draw(SEEDS))
    weights = [torch.rand(leaf.shape, generator=g).to(leaf.dtype) for leaf in smooth]
    for name, value in zip(function.tensors, inputs, strict=True):
        ends = [leaf for leaf in leaves(value) if leaf.requires_grad]
        if not ends:
            continue
        found = torch.autograd.grad(smooth, ends, weights, retain_graph=True, allow_unused=True)
        found = [gradient for gradient in found if gradient is not None]
        assert not found or name in function.gradient
        assert all(gradient.isfinite().all() for gradient in found)


def with_gradient(leaf):
    """Return the same values, numbers as the start of a graph."""
    leaf = leaf.clone() if leaf.is_inference() else leaf.detach()
    return leaf.requires_grad_() if leaf.is_floating_point() else leaf
