"""What every loss promises, whatever it computes."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.devices import never_waiting
from tests.support.strategies import generator
from wsolrefine import losses as L

REDUCTIONS = ["mean", "sum", "none"]
HALVES = [torch.float16, torch.bfloat16]
DTYPES = [torch.float32, torch.float64, *HALVES]


@dataclass(frozen=True)
class Case:
    """One loss with inputs of a batch of images.

    Attributes:
        call: takes the floating tensors, then what is no floating tensor, and ``reduction``.
        shapes: of the floating tensors, without the batch axis.
        names: of the floating tensors, as error messages give them.
        other: makes what is no floating tensor, or nothing, for a batch size.
        logits: inputs are logits of any size; otherwise probabilities or embeddings.
        gradient: indices of the tensors that the loss is differentiable in.
        values: number of values that ``reduction="none"`` returns for a batch size.
    """

    name: str
    call: Callable
    shapes: tuple
    names: tuple
    other: Callable | None = None
    logits: bool = False
    gradient: tuple = (0,)
    values: Callable = lambda batch: (batch, 4, 5)

    def inputs(self, batch=4, *, dtype=torch.float64, device="cpu", seed=0):
        g, tensors = generator(seed), []
        for shape in self.shapes:
            values = torch.rand(batch, *shape, generator=g, dtype=torch.float64)
            tensors.append((6 * values - 3 if self.logits else values).to(device, dtype))
        if self.other is not None:
            tensors.append(self.other(batch, g).to(device))
        return tensors

    def __call__(self, inputs, reduction="mean"):
        return self.call(*inputs, reduction=reduction)


def labels(batch, g):
    return torch.randint(3, (batch,), generator=g)


def boundaries(batch, g):
    return torch.rand(batch, 4, 5, generator=g) < 0.3


def targets(batch, g):
    kinds = torch.tensor([0, 1, 255], dtype=torch.uint8)
    return kinds[torch.randint(3, (batch, 4, 5), generator=g)]


GRID, CLASSES, MAPS, PARTS = (4, 5), (3,), (3, 4, 5), (6,)


def with_options(loss, **options):
    return lambda *inputs, reduction: loss(*inputs, reduction=reduction, **options)


def each(batch):
    return (batch,)


CASES = [
    *(
        Case(
            "restricted_activation_loss" + "_released" * released,
            with_options(
                L.restricted_activation_loss, threshold=threshold, gap=0.1, released=released
            ),
            (MAPS,),
            ("logit_map",),
            labels,
            logits=True,
            values=each,
        )
        for released, threshold in ((False, 0.2), (True, 0.3))
    ),
    *(
        Case(
            loss.__name__ + "_logits" * logits,
            with_options(loss, logits=logits),
            (GRID,),
            ("probability",),
            logits=logits,
        )
        for loss in (L.weighted_entropy_loss, L.entropy_loss, L.area_loss)
        for logits in (False, True)
    ),
    Case("confseg_loss", L.confseg_loss, (GRID, GRID), ("auxiliary_map", "cam"), values=each),
    Case(
        "coaug_loss",
        L.coaug_loss,
        (PARTS, PARTS, PARTS),
        ("foreground", "background", "confident_background"),
        labels,
        gradient=(0, 1, 2),
        values=lambda batch: (batch * (batch - 1) // 2,),
    ),
    *(
        Case(
            "hard_negative_suppression_loss" + "_logits" * logits,
            with_options(L.hard_negative_suppression_loss, negative_weight=0.7, logits=logits),
            (GRID,),
            ("probability",),
            boundaries,
            logits=logits,
        )
        for logits in (False, True)
    ),
    Case("masked_bce_loss", L.masked_bce_loss, (GRID,), ("logits",), targets, logits=True),
    *(
        Case(
            "multiplicative_loss" + "_distill" * distill,
            with_options(L.multiplicative_loss, distill=distill),
            (CLASSES, CLASSES),
            ("deep_logits", "fused_logits"),
            labels,
            logits=True,
            # A teacher's gradient is not that of the value; test_losses_multiplicative has it.
            gradient=(1,) if distill else (0, 1),
            values=each,
        )
        for distill in (False, True)
    ),
]
LABELLED = [case for case in CASES if case.other is labels]
LOGITS = [case for case in CASES if case.logits]
IDS = {"ids": lambda case: case.name}
every_case = pytest.mark.parametrize("case", CASES, **IDS)


def test_every_loss_is_here():
    assert {name for name in L.__all__ if name.endswith("_loss")} == {
        re.sub("_(logits|released|distill)$", "", case.name) for case in CASES
    }


@every_case
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shape_dtype_and_device_and_arguments_unchanged(case, dtype, device):
    inputs = case.inputs(dtype=dtype, device=device)
    before = [tensor.clone() for tensor in inputs]
    values, *scalars = (case(inputs, reduction) for reduction in reversed(REDUCTIONS))
    assert values.shape == case.values(4)
    assert [scalar.shape for scalar in scalars] == [(), ()]
    for out in (values, *scalars):
        assert (out.dtype, out.device) == (dtype, inputs[0].device)
        assert out.isfinite().all()
    assert all(map(torch.equal, inputs, before))


@every_case
def test_mean_and_sum_are_those_of_the_values(case):
    inputs = case.inputs()
    values = case(inputs, "none")
    assert_close(case(inputs), values.mean())
    assert_close(case(inputs, "sum"), values.sum())
    assert case(inputs) > 0


@every_case
def test_gradcheck(case):
    inputs = case.inputs(3, seed=2)
    chosen = [inputs[n].requires_grad_() for n in case.gradient]
    assert torch.autograd.gradcheck(lambda *_: case(inputs, "none"), chosen, fast_mode=True)


@every_case
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_is_computed_in_single_precision(case, dtype):
    inputs = case.inputs(dtype=dtype)
    single = [t.float() if t.is_floating_point() else t for t in inputs]
    leaves = [inputs[n].requires_grad_() for n in case.gradient]
    others = [single[n].requires_grad_() for n in case.gradient]
    step = torch.finfo(dtype).eps
    for reduction in REDUCTIONS:
        out, expected = case(inputs, reduction), case(single, reduction)
        assert_close(out, expected.to(dtype), rtol=step, atol=step / 8)
    gradients = torch.autograd.grad(case(inputs, "none").sum(), leaves)
    expected = torch.autograd.grad(case(single, "none").sum(), others)
    for one, other in zip(gradients, expected, strict=True):
        assert_close(one, other.to(dtype), rtol=2 * step, atol=step)


@every_case
def test_single_precision_is_close_to_double(case):
    inputs = case.inputs(dtype=torch.float32)
    double = [t.double() if t.is_floating_point() else t for t in inputs]
    for reduction in REDUCTIONS:
        expected = case(double, reduction).float()
        assert_close(case(inputs, reduction), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", LOGITS, **IDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [30.0, 1000.0, 15000.0])
def test_saturated_logits_stay_finite(case, dtype, size):
    """Their probabilities are 0 and 1 in every precision, whose logarithms are not finite.

    Four times the largest logit, a loss of two terms, is just below what half precision can hold.
    """
    inputs = case.inputs(dtype=dtype)
    floats = range(len(case.shapes))
    for n in floats:
        inputs[n] = (inputs[n].sign() * size).requires_grad_()
    values = case(inputs, "none")
    assert values.isfinite().all()
    assert (values >= 0).all()
    values.float().mean().backward()
    for n in floats:
        assert inputs[n].grad is None or inputs[n].grad.isfinite().all()
    double = [t.detach().double() if t.is_floating_point() else t for t in inputs]
    expected = case(double, "none").to(dtype)
    step = max(torch.finfo(dtype).eps, 1e-5)
    assert_close(values.detach(), expected, rtol=step, atol=step / 8)


@pytest.mark.parametrize("case", [c for c in CASES if not c.logits], **IDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_probabilities_of_zero_and_one_stay_finite(case, dtype, value):
    inputs = case.inputs(dtype=dtype)
    for n in range(len(case.shapes)):
        inputs[n] = torch.full_like(inputs[n], value).requires_grad_()
    values = case(inputs, "none")
    assert values.isfinite().all()
    values.sum().backward()
    for n in case.gradient:
        assert inputs[n].grad.isfinite().all()


@every_case
def test_a_batch_of_one(case):
    inputs = case.inputs(1)
    leaves = [inputs[n].requires_grad_() for n in case.gradient]
    out = case(inputs)
    assert out.isfinite()
    out.backward()
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves)


@every_case
def test_an_empty_batch(case):
    """It costs nothing and changes no weight, where torch's mean of nothing would be NaN."""
    inputs = case.inputs(0)
    leaves = [inputs[n].requires_grad_() for n in case.gradient]
    assert case(inputs, "none").shape == (0, *case.values(4)[1:])
    for reduction in ("mean", "sum"):
        loss = case(inputs, reduction)
        assert loss.item() == 0
        for gradient in torch.autograd.grad(loss, leaves):
            assert gradient.shape[0] == 0


@every_case
def test_memory_layout_does_not_matter(case):
    inputs = case.inputs()
    expected = case(inputs, "none")
    for n, tensor in enumerate(inputs):
        turned = tensor.transpose(0, -1).contiguous().transpose(0, -1)
        for layout in (turned, torch.stack([tensor, tensor], -1)[..., 0]):
            out = case([*inputs[:n], layout, *inputs[n + 1 :]], "none")
            assert_close(out, expected)
    one = case.inputs(1)
    expanded = [tensor.expand(3, *tensor.shape[1:]) for tensor in one]
    copies = [tensor.clone() for tensor in expanded]
    assert_close(case(expanded, "none"), case(copies, "none"))


@every_case
def test_runs_where_nothing_is_differentiated(case):
    expected = case(case.inputs())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert_close(case(case.inputs()).clone(), expected)


@every_case
def test_tensors_of_inference_mode_may_stand_beside_one_with_a_gradient(case):
    """Labels of a data set, or a map of another network."""
    for at in case.gradient:
        inputs, gradients = case.inputs(), []
        for some in (inputs, [torch.inference_mode()(torch.clone)(each) for each in inputs]):
            some[at] = inputs[at].detach().clone().requires_grad_()
            gradients.append(torch.autograd.grad(case(some), some[at])[0])
        assert_close(*gradients)


@every_case
def test_autocast_changes_nothing(case):
    inputs = case.inputs(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = case(inputs)
    assert torch.equal(inside, case(inputs))


@every_case
def test_compiles_without_graph_breaks(case):
    torch.compiler.reset()
    inputs = case.inputs()
    compiled = torch.compile(case.call, fullgraph=True, backend="eager")
    assert_close(compiled(*inputs, reduction="mean"), case(inputs))


@every_case
def test_reads_no_values(case):
    """A tensor on the meta device has none: what passes there never waits for a GPU."""
    inputs = case.inputs()
    for reduction in REDUCTIONS:
        out = case([tensor.to("meta") for tensor in inputs], reduction)
        assert out.shape == case(inputs, reduction).shape


@every_case
@pytest.mark.parametrize("reduction", ["max", "Mean", None])
def test_unknown_reductions_raise_before_any_work(case, reduction):
    message = f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}"
    for batch in (1, 4):
        inputs = case.inputs(batch)
        with Idle(), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            case(inputs, reduction)


class Idle(TorchDispatchMode):
    """Where no tensor is computed with."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        raise AssertionError(f"{operation} was called")


@every_case
def test_wrong_kinds(case):
    inputs = case.inputs()
    for n, name in enumerate(case.names):
        for wrong, message in (
            ([1.0], "expected a torch.Tensor, got list"),
            (inputs[n].long(), "expected a floating-point dtype, got torch.int64"),
        ):
            with pytest.raises(TypeError, match=f"^{name}: {re.escape(message)}$"):
                case([*inputs[:n], wrong, *inputs[n + 1 :]])
        if n:
            with pytest.raises(TypeError, match=rf"^{name}: expected torch.float64 as \w+, got "):
                case([*inputs[:n], inputs[n].float(), *inputs[n + 1 :]])
            with pytest.raises(ValueError, match=rf"^{name}: expected shape .* with B=4 from "):
                case([*inputs[:n], inputs[n][:3], *inputs[n + 1 :]])


@pytest.mark.parametrize("case", LABELLED, **IDS)
@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        ([0, 1], TypeError, "label: expected a torch.Tensor, got list"),
        (torch.zeros(4), TypeError, "label: expected dtype torch.int64, got torch.float32"),
        (torch.zeros(4).int(), TypeError, "label: expected dtype torch.int64, got torch.int32"),
        (
            torch.zeros(3).long(),
            ValueError,
            "label: expected shape (B,) with B=4 from {first}, got (3,)",
        ),
        (
            torch.zeros(4, 1).long(),
            ValueError,
            "label: expected shape (B,) with B=4 from {first}, got (4, 1)",
        ),
        (
            torch.zeros(4, device="meta").long(),
            ValueError,
            "label: expected cpu as {first}, got meta",
        ),
    ],
)
def test_wrong_labels(case, label, error, message):
    message = message.format(first=case.names[0])
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        case([*case.inputs()[:-1], label])


@pytest.mark.parametrize("case", [c for c in LABELLED if c.name != "coaug_loss"], **IDS)
@pytest.mark.parametrize("wrong", [-100, -1, 3, 2**40])
def test_labels_out_of_range(case, wrong):
    """Also -100, which torch's cross entropy ignores. Pairs only ask whether labels are equal."""
    message = f"label: expected 0 to 2 as {case.names[0]}, got {wrong}"
    *inputs, label = case.inputs()
    label[2] = wrong
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        case([*inputs, label])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_case
def test_a_gpu_gives_the_same_and_is_never_waited_for(case):
    inputs = case.inputs()
    there = [tensor.cuda() for tensor in inputs]
    case(there)
    with never_waiting():
        out = case(there, "none")
    assert_close(out.cpu(), case(inputs, "none"))
