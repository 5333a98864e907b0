"""Which tensor of an output is the logits, and how a model is called."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from tests.support.zoo import seeded
from wsolrefine import class_activation, find_layers, find_stages

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Named = namedtuple("Named", ["features", "logits"])


@dataclass
class Plain:
    loss: torch.Tensor | None
    logits: torch.Tensor
    hidden_states: tuple = ()


class ModelOutput(OrderedDict):
    """As that of transformers: what is not None, by name, attribute or index."""

    def __init__(self, **values):
        super().__init__({name: value for name, value in values.items() if value is not None})
        self.__dict__.update(values)

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]


class Wrapped(nn.Module):
    """A network of 16 features and 4 classes that returns what a function makes of them."""

    def __init__(self, wrap):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))
        self.auxiliary, self.head, self.wrap = nn.Linear(8, 4), nn.Linear(16, 4), wrap

    def forward(self, x):
        early = self.auxiliary(self.body[0](x).mean((2, 3)))
        features = self.body(x).mean((2, 3))
        return self.wrap(features, self.head(features), early)


def expected():
    return class_activation(seeded(Wrapped, lambda f, x, early: x), IMAGES)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda f, x, early: (f, x),
        lambda f, x, early: (x, f),
        lambda f, x, early: (x.mean(), x),
        lambda f, x, early: {"features": f, "scores": x},
        lambda f, x, early: {"loss": x.mean(1, keepdim=True), "prediction": x},
        lambda f, x, early: {"logits": x, "features": f, "auxiliary": early},
        lambda f, x, early: Named(f, x),
        lambda f, x, early: ModelOutput(loss=None, logits=x, hidden_states=(f,), attentions=None),
        lambda f, x, early: ModelOutput(loss=x.mean(), hidden_states=f, logits=x),
        lambda f, x, early: Plain(None, x, (f,)),
        lambda f, x, early: (Plain(None, x), f[:, :, None]),
        lambda f, x, early: [x, early],
        lambda f, x, early: (x[:, :, None, None], x.argmax(1)),
    ],
    ids=lambda wrap: "",
)
def test_logits_are_found_in_an_output_of_several_tensors(wrap):
    model = seeded(Wrapped, wrap)
    out = class_activation(model, IMAGES)
    assert out.logits.shape == (2, 4)
    torch.testing.assert_close(out, expected())
    assert find_layers(model, IMAGES).head == "head"
    assert find_stages(model, IMAGES) == ("body.1", "body")


@pytest.mark.parametrize(
    ("wrap", "named"),
    [
        (lambda f, x, early: (early, x), r"output\[0\] \(B, 4\), output\[1\] \(B, 4\)"),
        (lambda f, x, early: {"color": x, "kind": early[:, :3]}, r"output\['color'\] .*\['kind'\]"),
        # The second may be the logits of a head that is not linear.
        (lambda f, x, early: (x, f.square()), r"output\[0\] \(B, 4\), output\[1\] \(B, 16\)"),
        (lambda f, x, early: (x, x.cos()), "output"),
        (lambda f, x, early: {"logits": {"a": early, "b": x}}, r"logits\['a'\]"),
    ],
    ids=lambda wrap: "",
)
def test_several_candidates_are_an_error_that_names_them(wrap, named):
    for function in (find_layers, find_stages, class_activation):
        with pytest.raises(ValueError, match=f"^model: expected one .* got .*{named}.*logits=, a"):
            function(seeded(Wrapped, wrap), IMAGES)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda f, x, early: {"last_hidden_state": f[:, None], "pooler_output": f},
        lambda f, x, early: {"image_embeds": f},
        lambda f, x, early: (f.mean(), "text"),
        lambda f, x, early: {"logits": x.argmax(1)},
        lambda f, x, early: f[:1],
    ],
    ids=lambda wrap: "",
)
def test_features_are_not_taken_for_logits(wrap):
    with pytest.raises(
        ValueError, match=r"^model: expected logits of shape \(B, num_classes\), got"
    ):
        find_layers(seeded(Wrapped, wrap), IMAGES)


def test_the_number_of_classes_that_a_model_names_decides():
    model = seeded(Wrapped, lambda f, x, early: (x.cos(), f))
    model.num_classes = 4
    torch.testing.assert_close(class_activation(model, IMAGES).logits, expected().logits.cos())


@pytest.mark.parametrize(
    ("wrap", "logits"),
    [
        (lambda f, x, early: (early, x), 1),
        (lambda f, x, early: {"color": x, "kind": early}, "color"),
        (lambda f, x, early: Named(x, early), "features"),
        (lambda f, x, early: {"all": (early, x)}, lambda output: output["all"][1]),
    ],
    ids=lambda value: "",
)
def test_logits_by_name_index_or_function(wrap, logits):
    out = class_activation(seeded(Wrapped, wrap), IMAGES, logits=logits)
    torch.testing.assert_close(out, expected())


@pytest.mark.parametrize("logits", ["missing", 7, lambda output: output[5], lambda output: None])
def test_logits_that_are_not_there(logits):
    model = seeded(Wrapped, lambda f, x, early: (x, f))
    with pytest.raises(
        ValueError, match=r"^logits: expected .* \(B, num_classes\).* got tuple with"
    ):
        find_layers(model, IMAGES, logits=logits)


class Heads(nn.Module):
    """A classifier with a second head, both of the same features; or of a branch each."""

    def __init__(self, wrap, branches=False, classes=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))
        self.box, self.scores, self.wrap = nn.Linear(16, 4), nn.Linear(16, classes), wrap
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU()) if branches else nn.Identity()
            for _ in range(2)
        )

    def forward(self, x):
        one, other = (branch(self.body(x)).mean((2, 3)) for branch in self.branches)
        box = self.box(one)
        return self.wrap(box, self.scores(other), self.box(one))


@pytest.mark.parametrize("branches", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda box, x, again: (box, x),
        lambda box, x, again: (x, box),
        lambda box, x, again: (again, x),
        lambda box, x, again: [x, again],
        lambda box, x, again: {"species": x, "age": again},
        lambda box, x, again: {"age": box, "species": x},
        lambda box, x, again: (box, x.softmax(1)),
        lambda box, x, again: (x, box, again),
    ],
    ids=lambda wrap: "",
)
def test_a_second_head_of_the_same_size_is_not_taken_for_the_logits(wrap, branches):
    for function in (find_layers, find_stages, class_activation):
        with pytest.raises(ValueError, match=r"got output\[.*\(B, 4\), output\[.*choose with"):
            function(seeded(Heads, wrap, branches), IMAGES)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda box, x, again: (box, x),
        lambda box, x, again: (x, again),
        lambda box, x, again: {"scores": x, "box": box},
        lambda box, x, again: (x[:, :3], x[:, :2], box),
        lambda box, x, again: (x[:, :1], x[:, 1:]),  # one layer computes both
    ],
    ids=lambda wrap: "",
)
def test_a_second_head_of_the_size_of_the_classes_is_not_taken_for_the_logits(wrap):
    model = seeded(Heads, wrap, classes=5)
    model.num_classes = 4  # and a background, which it does not count
    with pytest.raises(ValueError, match=r"^model: expected one output that can be logits"):
        find_layers(model, IMAGES)
    model.num_classes = None
    choose = {"logits": lambda output: output[0] if isinstance(output, tuple) else output["box"]}
    find_layers(model, IMAGES, **choose)


def test_the_number_of_classes_tells_the_head_from_the_embedding_that_it_reads():
    model = seeded(Wrapped, lambda f, x, early: (early[:, :3], early))
    model.auxiliary, model.head = nn.Linear(8, 6), nn.Linear(6, 4)
    model.forward = lambda x: [e := model.auxiliary(model.body[0](x).mean((2, 3))), model.head(e)]
    model.num_classes = 4
    assert class_activation(model, IMAGES).logits.shape == (2, 4)


def test_the_same_tensor_twice_is_one_candidate():
    model = seeded(Wrapped, lambda f, x, early: {"out": x, "prediction": x})
    torch.testing.assert_close(class_activation(model, IMAGES), expected())


@pytest.mark.parametrize("batch", [2, 4, 5])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: {"logits_per_image": x, "logits_per_text": x.T},
        lambda x: {"logits_per_text": x.T.contiguous(), "logits_per_image": x},
        lambda x: ModelOutput(loss=None, logits_per_text=x.T, logits_per_image=x.T.clone().T),
        lambda x: {"per_text": x.T * (1 + 1e-6), "scores": {"per_image": x}},
    ],
    ids=lambda wrap: "",
)
def test_scores_per_text_are_not_the_logits_of_as_many_images(wrap, batch):
    model = seeded(Wrapped, lambda f, x, early: wrap(x))
    images = IMAGES[:1].repeat(batch, 1, 1, 1) * torch.linspace(0.1, 1, batch)[:, None, None, None]
    out = class_activation(model, images)
    plain = class_activation(seeded(Wrapped, lambda f, x, early: x), images)
    torch.testing.assert_close(out, plain)
    images[0] = torch.nan
    assert class_activation(model, images).cam[1:].amax() > 0


def test_a_transpose_without_a_name_is_an_error():
    model = seeded(Wrapped, lambda f, x, early: (x, x.T))
    layers = find_layers(model, IMAGES)
    with pytest.raises(ValueError, match="choose with logits="):
        class_activation(model, IMAGES.repeat(2, 1, 1, 1), layers=layers)


# How a model is called ----------------------------------------------------------------------------


class Keywords(Wrapped):
    def __init__(self):
        super().__init__(lambda f, x, early: x)

    def forward(self, *, pixel_values, labels=None):
        return super().forward(pixel_values)


class Batches(Wrapped):
    def __init__(self):
        super().__init__(lambda f, x, early: x)

    def forward(self, batch):
        return super().forward(batch["image"])


class Unclear(Keywords):
    def forward(self, *, pixel_values, pixel_mask):
        return super().forward(pixel_values=pixel_values)


def test_images_are_passed_by_the_only_keyword():
    torch.testing.assert_close(class_activation(seeded(Keywords), IMAGES), expected())


def test_call_says_how():
    def call(model, images):
        return model({"image": images})

    out = class_activation(seeded(Batches), IMAGES, call=call)
    torch.testing.assert_close(out, expected())
    assert find_stages(seeded(Batches), IMAGES, call=call) == ("body.1", "body")


def test_several_keywords_are_an_error():
    with pytest.raises(
        ValueError, match=r"^model: expected a forward .* got keywords pixel_values, "
    ):
        find_layers(seeded(Unclear), IMAGES)
    with pytest.raises(TypeError, match=r"^call: expected a function .*, got str"):
        find_layers(seeded(Unclear), IMAGES, call="pixel_values")


def test_features_of_a_network_without_a_head_are_not_taken_for_logits():
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.num_classes = 0
    with pytest.raises(ValueError, match=r"^model: expected a classifier, got one of 0 classes"):
        find_layers(model, IMAGES)
    assert find_layers(model, IMAGES, logits=lambda output: output).cam == "0"


class Headless(nn.Module):
    """As timm makes one: 0 classes, and the place of the head is kept."""

    num_classes = 0

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))
        self.fc = nn.Identity()

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


class Around(nn.Module):
    """A network and what becomes of its output."""

    def __init__(self, wrap, model=None):
        super().__init__()
        self.model, self.wrap = model or Headless(), wrap
        self.prototypes = nn.Parameter(torch.randn(4, 16))

    def forward(self, x):
        features = self.model(x)
        cosine = nn.functional.normalize(features) @ nn.functional.normalize(self.prototypes).mT
        return self.wrap(features, cosine)


@pytest.mark.parametrize(
    "model",
    [
        Headless(),
        nn.DataParallel(Headless()),
        nn.Sequential(nn.Identity(), Headless()),
        nn.Sequential(Headless(), nn.Dropout()),
        nn.Sequential(nn.Sequential(nn.Sequential(Headless()))),
        Around(lambda features, cosine: {"out": features}),
        Around(lambda features, cosine: Plain(None, features)),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("function", [find_layers, class_activation, find_stages])
def test_features_of_a_network_without_a_head_are_refused_within_any_wrapper(model, function):
    message = r"^model: expected a classifier, got one of 0 classes .*; give it a head"
    with pytest.raises(ValueError, match=message):
        function(model.eval(), IMAGES)


def with_head(*before):
    model = Headless()
    model.fc = nn.Sequential(*before, nn.Linear(16, 4)) if before else nn.Linear(16, 4)
    return model


@pytest.mark.parametrize(
    "model",
    [
        with_head(),
        with_head(nn.Dropout()),
        with_head(nn.Linear(16, 16), nn.ReLU()),
        nn.DataParallel(with_head()),
        nn.Sequential(nn.Identity(), with_head()),
        nn.Sequential(Headless(), nn.Linear(16, 4)),
        Around(lambda features, cosine: cosine),
        Around(lambda features, cosine: (features, cosine)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_head_makes_a_network_of_0_classes_a_classifier(model):
    model.eval()
    assert find_layers(model, IMAGES).cam
    assert class_activation(model, IMAGES).logits.shape == (2, 4)
