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
