"""What every function promises, whatever it computes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

import wsolrefine
from tests.support.devices import never_waiting
from tests.support.strategies import generator
from wsolrefine.functional.gaussian import Gaussian

HALVES = [torch.float16, torch.bfloat16]


@dataclass(frozen=True)
class Case:
    """One function with inputs of two or more images.

    Attributes:
        call: takes the tensors; a list or tuple argument is built inside.
        shapes: per tensor, the shape without the batch axis.
        names: per tensor, the name that error messages give it.
        owners: per tensor, what one bad value in it spoils: "map", "image", or None for no rule.
        gradient: indices of the tensors that the result is differentiable in.
        traced: nothing depends on values, also outside of graphs; tests/support/graphs.py has the
            functions that read values there, but not in graphs.
        waits: the CPU waits for the GPU, as in an eigendecomposition.
        mask: inputs are boolean.
        logarithms: indices of the tensors in which infinity is a value: certain or impossible.
    """

    name: str
    call: Callable
    shapes: tuple
    names: tuple
    owners: tuple
    gradient: tuple = ()
    traced: bool = True
    waits: bool = False
    mask: bool = False
    logarithms: tuple = ()

    def inputs(self, batch=2, *, dtype=torch.float64, device="cpu", seed=0):
        g = generator(seed)
        tensors = []
        for shape in self.shapes:
            values = torch.rand(batch, *shape, generator=g, dtype=torch.float64)
            if shape == (2, 2):  # a covariance
                values = values @ values.mT + torch.eye(2, dtype=torch.float64)
            tensors.append((values > 0.5 if self.mask else values.to(dtype)).to(device))
        return tuple(tensors)


def on_4_by_5(function, cam, *layers, **options):
    return function(cam, list(layers), size=(4, 5), **options)


W = wsolrefine
GRID, MAPS, LAYER, COARSE = (4, 5), (2, 4, 5), (3, 4, 5), (6, 2, 3)
CAM, MASK = ("cam",), ("mask",)
CASES = [
    Case("minmax", W.minmax, (GRID,), ("maps",), ("map",), (0,)),
    Case("minmax_k", W.minmax, (MAPS,), ("maps",), ("map",), (0,)),
    Case("self_correlation", W.self_correlation, (LAYER,), ("features",), ("image",), (0,)),
    Case(
        "self_correlation_layers",
        lambda *f: W.self_correlation(list(f), orders=(1, 3)),
        (LAYER, COARSE),
        ("features[0]", "features[1]"),
        ("image", "image"),
        (0, 1),
    ),
    Case(
        "self_correlation_released",
        W.self_correlation_released,
        (LAYER,),
        ("features",),
        ("image",),
        (0,),
    ),
    Case("scg", W.scg, (GRID, LAYER), ("cam", "features"), ("map", "image"), (1,)),
    Case("scg_k", W.scg, (MAPS, LAYER), ("cam", "features"), ("map", "image"), (1,)),
    Case(
        "scg_blocks",
        lambda c, f: W.scg(c, f, block_size=3, orders=(2, 3)),
        (MAPS, LAYER),
        ("cam", "features"),
        ("map", "image"),
        (1,),
    ),
    Case(
        "scg_wide",
        W.scg,
        (GRID, (40, 4, 5)),
        ("cam", "features"),
        ("map", "image"),
    ),
    Case(
        "scg_layers",
        lambda c, *f: W.scg(c, list(f), foreground=0.5, background=0.45),
        ((2, 7, 6), COARSE, LAYER),
        ("cam", "features[0]", "features[1]"),
        ("map", "image", "image"),
        (1, 2),
    ),
    Case(
        "scg_confseg",
        lambda c, f: W.scg(
            c, f, **dict(zip(("background", "foreground"), W.confseg_thresholds(c), strict=True))
        ),
        (MAPS, LAYER),
        ("cam", "features"),
        ("map", "image"),
        (1,),
    ),
    Case(
        "scg_released",
        lambda c, f: W.scg_released(c, f, foreground=0.7, background=0.3),
        (MAPS, LAYER),
        ("cam", "features"),
        ("map", "image"),
        (1,),
    ),
    Case(
        "scg_released_layers",
        lambda c, *f: W.scg_released(c, list(f), foreground=0.5, background=0.4),
        ((7, 6), LAYER, COARSE),
        ("cam", "features[0]", "features[1]"),
        ("map", "image", "image"),
        (1, 2),
    ),
    Case(
        "sem",
        lambda c, f: W.sem(c, f, num_seeds=4),
        (GRID, LAYER),
        ("cam", "features"),
        ("map", "image"),
        (1,),
    ),
    Case(
        "sem_layers_k",
        lambda c, *f: W.sem(c, list(f), num_seeds=4),
        ((2, 7, 6), LAYER, COARSE),
        ("cam", "features[0]", "features[1]"),
        ("map", "image", "image"),
        (1, 2),
    ),
    Case("confseg", W.confseg, (GRID,), CAM, ("map",)),
    Case("confseg_k", W.confseg, (MAPS,), CAM, ("map",)),
    Case("confseg_thresholds", W.confseg_thresholds, (MAPS,), CAM, (None,), (0,)),
    Case("fit_gaussian", W.fit_gaussian, (MAPS,), ("weights",), (None,), (0,)),
    Case(
        "gaussian_map",
        lambda m, c: W.gaussian_map(Gaussian(m, c), (4, 5)),
        ((2,), (2, 2)),
        ("mean", "covariance"),
        (None, None),
        (0, 1),
    ),
    Case(
        "conv_crf",
        lambda unary, image: W.conv_crf(unary, image, kernel_size=3, iterations=2),
        (LAYER, LAYER),
        ("unary", "image"),
        ("image", "image"),
        (0, 1),
        logarithms=(0,),
    ),
    *(
        Case(
            name,
            lambda maps, image: W.coarse_to_fine(maps, image, scales=(2, 1), kernel_size=3),
            (shape, LAYER),
            ("maps", "image"),
            ("map", "image"),
            (0, 1),
        )
        for name, shape in (("coarse_to_fine", GRID), ("coarse_to_fine_k", MAPS))
    ),
    Case(
        "feature_affinity",
        lambda *f: W.feature_affinity(list(f), size=(4, 5)),
        (LAYER, COARSE),
        ("features[0]", "features[1]"),
        ("image", "image"),
        (0, 1),
    ),
    *(
        Case(
            name,
            W.label_spreading,
            (shape, LAYER, (3, 8, 10)),
            ("cam", "features", "image"),
            ("map", "image", "image"),
            (0, 1, 2),
        )
        for name, shape in (("label_spreading", GRID), ("label_spreading_k", MAPS))
    ),
    *(
        Case(
            f"{function.__name__}_{name}",
            # Features in [0, 1] have large cosines.
            partial(on_4_by_5, function, **options),
            (shape, *layers),
            ("cam", "features[0]", "features[1]")[: 1 + len(layers)],
            ("map", "image", "image")[: 1 + len(layers)],
            waits=True,
        )
        for function, options in ((W.pc1, {}), (W.ncut, {"threshold": 0.75}))
        for name, shape, layers in (
            ("layer", GRID, (LAYER,)),
            ("layers_k", MAPS, (LAYER, COARSE)),
            ("wide_k", (2, 7, 6), ((40, 4, 5),)),
        )
    ),
    *(
        Case(
            name,
            lambda maps, image: W.pamr(maps, image, iterations=2, dilations=(1, 2)),
            (shape, LAYER),
            ("maps", "image"),
            ("map", "image"),
            (0, 1),
        )
        for name, shape in (("pamr", GRID), ("pamr_k", MAPS))
    ),
    Case("suppress_non_maxima", W.suppress_non_maxima, (GRID,), ("edges",), (None,)),
    Case(
        "pseudo_boundary",
        W.pseudo_boundary,
        (GRID, LAYER),
        ("mask_probability", "image"),
        ("map", "image"),
        traced=False,
    ),
    Case("gppl", W.gppl, (GRID,), CAM, ("map",), (0,)),
    Case("gppl_k", W.gppl, (MAPS,), CAM, ("map",), (0,)),
    Case(
        "gppl_released",
        lambda c: W.gppl_released(c, size=24, min_area=1),
        (MAPS,),
        CAM,
        ("map",),
        traced=False,
    ),
    Case("pseudo_label", W.pseudo_label, (MAPS,), CAM, (None,)),
    Case(
        "multiply_maps",
        lambda *m: W.multiply_maps(list(m)),
        (MAPS, (2, 2, 7), (2, 1, 1)),
        ("maps[0]", "maps[1]", "maps[2]"),
        ("map", "map", "map"),
        (0, 1, 2),
    ),
    Case(
        "multiply_maps_powers",
        lambda *m: W.multiply_maps(list(m), powers=(0.5, 2)),
        (MAPS, (2, 2, 7)),
        ("maps[0]", "maps[1]"),
        ("map", "map"),
        (0, 1),
    ),
    Case(
        "connected_components",
        W.connected_components,
        (MAPS,),
        MASK,
        (None,),
        traced=False,
        mask=True,
    ),
    Case("union_box", W.union_box, (MAPS,), MASK, (None,), mask=True),
    *(
        Case(
            name,
            lambda maps: W.instance_labels(maps, threshold=0.3),
            (shape,),
            ("maps",),
            (None,),
            traced=False,
        )
        for name, shape in (("instance_labels", GRID), ("instance_labels_k", MAPS))
    ),
    Case("largest_box", W.largest_box, (MAPS,), MASK, (None,), traced=False, mask=True),
    Case("component_boxes", W.component_boxes, (GRID,), MASK, (None,), traced=False, mask=True),
    Case(
        "tokens_to_map",
        lambda t: W.tokens_to_map(t, num_prefix_tokens=1),
        ((10, 3),),
        ("tokens",),
        (None,),
        (0,),
    ),
    Case("tokens_to_map_nhwc", W.tokens_to_map, ((4, 5, 3),), ("tokens",), (None,), (0,)),
]
FLOATING = [case for case in CASES if not case.mask]
TRACED = [case for case in CASES if case.traced]
IDS = {"ids": lambda case: case.name}
every_case = pytest.mark.parametrize("case", CASES, **IDS)
floating_cases = pytest.mark.parametrize("case", FLOATING, **IDS)
traced_cases = pytest.mark.parametrize("case", TRACED, **IDS)


def same(actual, expected, **tolerance):
    """Equal structures, shapes, dtypes and values (floats up to rounding)."""
    actual, structure = tree_flatten(actual)
    expected, other = tree_flatten(expected)
    assert structure == other
    for one, two in zip(actual, expected, strict=True):
        assert_close(one, two, **(tolerance if two.is_floating_point() else {}))


def image(result, index):
    """The part of a result that belongs to one image."""
    return tree_map(lambda leaf: leaf[index : index + 1], result)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALVES], ids=str)
def test_dtype_and_device_are_kept_and_arguments_unchanged(case, dtype, device):
    inputs = case.inputs(dtype=dtype, device=device)
    before = [tensor.clone() for tensor in inputs]
    result = case.call(*inputs)
    for leaf in tree_leaves(result):
        assert leaf.device == inputs[0].device
        if leaf.is_floating_point():
            assert leaf.dtype == (torch.float32 if case.mask else dtype)
            assert leaf.isfinite().all()
    for tensor, copy in zip(inputs, before, strict=True):
        assert torch.equal(tensor, copy)


@every_case
def test_images_of_a_batch_are_independent(case):
    a, b = case.inputs(1, seed=1), case.inputs(2, seed=2)
    both = case.call(*(torch.cat(pair) for pair in zip(a, b, strict=True)))
    one, two = case.call(*a), case.call(*b)
    if isinstance(both, list):
        return same(both, one + two)
    flat = zip(tree_leaves(one), tree_leaves(two), strict=True)
    return same(tree_leaves(both), [torch.cat(pair) for pair in flat])


def has_maps(shape):
    return len(shape) == 3 and shape[0] == 2


@pytest.mark.parametrize("case", [case for case in CASES if has_maps(case.shapes[0])], **IDS)
def test_maps_of_an_image_are_independent(case):
    """``K`` in, ``K`` out: each map as if it came alone."""
    with_maps = [has_maps(shape) for shape in case.shapes]
    inputs = case.inputs()
    result = case.call(*inputs)
    for k in range(2):
        alone = case.call(*(t[:, k] if w else t for t, w in zip(inputs, with_maps, strict=True)))
        same(tree_map(lambda leaf, k=k: leaf[:, k], result), alone)
    one = case.call(*(t[:, :1] if w else t for t, w in zip(inputs, with_maps, strict=True)))
    same(one, tree_map(lambda leaf: leaf[:, :1], result))


@every_case
def test_an_empty_batch(case):
    full, empty = case.call(*case.inputs()), case.call(*case.inputs(0))
    if isinstance(full, list):
        assert empty == []
        return
    for one, other in zip(tree_leaves(empty), tree_leaves(full), strict=True):
        assert one.shape == (0, *other.shape[1:])
        assert one.dtype == other.dtype


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "gaussian_map"], **IDS)
def test_another_axis_of_size_zero_is_an_error(case):
    inputs = case.inputs()
    for n, name in enumerate(case.names):
        for axis in range(1, inputs[n].ndim):
            leading = name in ("maps", "weights") or case.name.startswith("confseg")
            if leading and axis < inputs[n].ndim - 2:
                continue  # any leading axes, free to be empty
            broken = list(inputs)
            broken[n] = inputs[n].narrow(axis, 0, 0)
            with pytest.raises(ValueError, match=r"^[\w\[\]]+: expected ") as caught:
                case.call(*broken)
            assert str(caught.value).startswith(name)


def layouts(tensor):
    """The same values in memory layouts that a view or a convolution may leave."""
    yield tensor.mT.contiguous().mT
    yield tensor.transpose(0, -1).contiguous().transpose(0, -1)
    yield torch.stack([tensor, tensor], -1)[..., 0]
    yield torch.cat([tensor, tensor])[: len(tensor)]
    if tensor.ndim == 4:
        yield tensor.to(memory_format=torch.channels_last)


@every_case
def test_memory_layout_does_not_matter(case):
    inputs = case.inputs()
    expected = case.call(*inputs)
    for n, tensor in enumerate(inputs):
        for layout in layouts(tensor):
            assert torch.equal(layout, tensor)
            same(case.call(*inputs[:n], layout, *inputs[n + 1 :]), expected)


@every_case
def test_expanded_inputs(case):
    inputs = case.inputs(1)
    expanded = tuple(tensor.expand(3, *tensor.shape[1:]) for tensor in inputs)
    same(case.call(*expanded), case.call(*(tensor.clone() for tensor in expanded)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")], ids=str)
@floating_cases
def test_a_value_that_is_not_finite_stays_with_its_map(case, bad):
    inputs = case.inputs(3)
    clean = case.call(*inputs)
    for n, owner in enumerate(case.owners):
        if abs(bad) == float("inf") and n in case.logarithms:
            continue  # a label that is impossible or certain
        broken = [tensor.clone() for tensor in inputs]
        broken[n].view(3, -1)[1, 0] = bad  # in the first map of the second image
        result = case.call(*broken)
        for index in (0, 2):
            same(image(result, index), image(clean, index))
        for leaf, before in zip(tree_leaves(result), tree_leaves(clean), strict=True):
            if owner == "image" or (owner == "map" and inputs[n].ndim == 3):
                assert torch.equal(leaf[1], torch.zeros_like(leaf[1]))
            elif owner == "map":
                assert torch.equal(leaf[1, 0], torch.zeros_like(leaf[1, 0]))
                assert_close(leaf[1, 1], before[1, 1])


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@floating_cases
def test_half_precision_is_computed_in_single_precision(case, dtype):
    inputs = case.inputs(dtype=dtype)
    single = case.call(*(tensor.float() for tensor in inputs))
    expected = tree_map(lambda leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf, single)
    step = torch.finfo(dtype).eps  # a rounding to the next number is a rounding
    same(case.call(*inputs), expected, rtol=step, atol=step / 8)


@floating_cases
def test_single_precision_is_close_to_double(case):
    inputs = case.inputs(dtype=torch.float32)
    double = case.call(*(tensor.double() for tensor in inputs))
    expected = tree_map(lambda leaf: leaf.float() if leaf.is_floating_point() else leaf, double)
    same(case.call(*inputs), expected, rtol=1e-4, atol=1e-4)


@floating_cases
@pytest.mark.parametrize("other", [torch.float64, torch.bfloat16], ids=str)
def test_the_default_dtype_has_no_part_in_it(case, other):
    args = case.inputs(dtype=torch.float32)
    expected = case.call(*args)
    before = torch.get_default_dtype()
    torch.set_default_dtype(other)
    try:
        out = case.call(*args)
    finally:
        torch.set_default_dtype(before)
    assert_close(out, expected, rtol=0, atol=0)


@floating_cases
def test_autocast_changes_nothing(case):
    """Autocast would round the products in between to half precision."""
    inputs = case.inputs(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = case.call(*inputs)
    same(inside, case.call(*inputs), rtol=0, atol=0)


@every_case
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_runs_without_gradients(case, mode):
    expected = case.call(*case.inputs())
    with mode():
        result = case.call(*case.inputs())
        result = tree_map(torch.clone, result)
    same(result, expected)
    assert not any(leaf.requires_grad for leaf in tree_leaves(result))


@floating_cases
def test_inputs_may_require_gradients(case):
    expected = case.call(*case.inputs())
    leaves = [tensor.requires_grad_() for tensor in case.inputs()]
    result = case.call(*leaves)
    same(tree_map(torch.detach, result), expected)
    floats = [leaf for leaf in tree_leaves(result) if leaf.is_floating_point()]
    if not case.gradient:
        return
    sum((leaf * torch.rand_like(leaf)).sum() for leaf in floats).backward()
    for n in case.gradient:
        assert leaves[n].grad.isfinite().all()
        assert leaves[n].grad.any()


def spoiled(case):
    """Four images: usual, dead pixels or zeros, constant, holding NaN."""
    inputs = case.inputs(4)
    for n, tensor in enumerate(inputs):
        if case.names[n] in ("mean", "covariance"):
            continue
        tensor[1, ..., 0] = 0.0
        tensor[2] = 0.0 if case.names[n].startswith("features") else 0.7
        tensor[3, ..., -1] = float("nan")
    return inputs


@pytest.mark.parametrize("case", [case for case in FLOATING if case.gradient], **IDS)
def test_degenerate_images_do_not_spoil_the_gradient(case):
    leaves = [tensor.requires_grad_() for tensor in spoiled(case)]
    floats = [leaf for leaf in tree_leaves(case.call(*leaves)) if leaf.is_floating_point()]
    sum(leaf[:3].sum() for leaf in floats).backward()
    for n in case.gradient:
        assert leaves[n].grad[:3].isfinite().all()


@pytest.mark.parametrize("case", [case for case in FLOATING if case.gradient], **IDS)
def test_gradcheck(case):
    inputs = list(case.inputs(2, seed=5))

    def function(*chosen):
        for n, tensor in zip(case.gradient, chosen, strict=True):
            inputs[n] = tensor
        result = [leaf for leaf in tree_leaves(case.call(*inputs)) if leaf.is_floating_point()]
        return tuple(result)

    chosen = [inputs[n].clone().requires_grad_() for n in case.gradient]
    assert torch.autograd.gradcheck(function, chosen, fast_mode=True)


@traced_cases
def test_compiles_without_graph_breaks(case):
    torch.compiler.reset()
    inputs = case.inputs()
    compiled = torch.compile(case.call, fullgraph=True, backend="eager")
    same(compiled(*inputs), case.call(*inputs))


class Wrapped(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, *inputs):
        return tuple(tree_leaves(self.call(*inputs)))


@traced_cases
def test_exports(case):
    inputs = case.inputs()
    program = torch.export.export(Wrapped(case.call), inputs)
    same(program.module()(*inputs), tuple(tree_leaves(case.call(*inputs))))


@traced_cases
def test_reads_no_values(case):
    """A tensor on the meta device has none: what passes there never waits for a GPU."""
    inputs = case.inputs()
    result = case.call(*(tensor.to("meta") for tensor in inputs))
    for leaf, expected in zip(tree_leaves(result), tree_leaves(case.call(*inputs)), strict=True):
        assert leaf.device.type == "meta"
        assert (leaf.shape, leaf.dtype) == (expected.shape, expected.dtype)


class Calls(TorchDispatchMode):
    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += 1
        return func(*args, **(kwargs or {}))


PER_IMAGE = ("gppl_released", "component_boxes", "pseudo_boundary")  # contours and lists, by nature


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in PER_IMAGE], **IDS)
def test_no_loop_over_images(case):
    """Copies of one image cost as many tensor operations as the image alone."""
    counts = []
    for batch in (2, 7):
        inputs = tuple(t.expand(batch, *t.shape[1:]).clone() for t in case.inputs(1))
        with Calls() as calls:
            case.call(*inputs)
        counts.append(calls.number)
    assert counts[0] == counts[1]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_case
def test_a_gpu_gives_the_same(case):
    inputs = case.inputs()
    result = case.call(*(tensor.cuda() for tensor in inputs))
    same(tree_map(torch.Tensor.cpu, result), case.call(*inputs))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", [case for case in TRACED if not case.waits], **IDS)
def test_never_waits_for_a_gpu(case):
    inputs = [tensor.cuda() for tensor in case.inputs()]
    case.call(*inputs)
    with never_waiting():
        case.call(*inputs)


BOXES = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 6.0, 5.0], [9.0, 1.0, 10.0, 3.0]])


class TestBoxIou:
    """No batch axis, so it is apart from the table."""

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALVES], ids=str)
    def test_dtype_and_device_are_kept_and_arguments_unchanged(self, dtype, device):
        boxes = BOXES.to(device, dtype)
        out = wsolrefine.box_iou(boxes, boxes[:2])
        assert (out.shape, out.dtype, out.device) == ((3, 2), dtype, boxes.device)
        assert torch.equal(boxes, BOXES.to(device, dtype))

    def test_layout_and_empty_sets(self):
        expected = wsolrefine.box_iou(BOXES, BOXES[:2])
        assert torch.equal(wsolrefine.box_iou(BOXES.mT.contiguous().mT, BOXES[:2]), expected)
        assert wsolrefine.box_iou(BOXES[:0], BOXES).shape == (0, 3)
        assert wsolrefine.box_iou(BOXES, BOXES[:0]).shape == (3, 0)

    def test_gradients(self):
        boxes = BOXES.double().requires_grad_()
        other = (BOXES.double() + 0.25).requires_grad_()
        assert torch.autograd.gradcheck(wsolrefine.box_iou, (boxes, other))
        zeros = torch.zeros(2, 4, requires_grad=True)
        wsolrefine.box_iou(zeros, zeros).sum().backward()
        assert zeros.grad.isfinite().all()

    def test_compile_export_and_meta(self):
        torch.compiler.reset()
        expected = wsolrefine.box_iou(BOXES, BOXES)
        compiled = torch.compile(wsolrefine.box_iou, fullgraph=True, backend="eager")
        assert_close(compiled(BOXES, BOXES), expected)
        program = torch.export.export(Wrapped(wsolrefine.box_iou), (BOXES, BOXES.clone()))
        assert_close(program.module()(BOXES, BOXES.clone())[0], expected)
        assert wsolrefine.box_iou(BOXES.to("meta"), BOXES.to("meta")).shape == (3, 3)
