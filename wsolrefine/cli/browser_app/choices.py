"""What is chosen on the page, and the Python code that does the same."""

from __future__ import annotations

from typing import NamedTuple

from wsolrefine.models import DEFAULT_CLASSIFIER


class Choices(NamedTuple):
    """What is chosen on the page.

    Attributes:
        model: name of the classifier.
        label: index of the class; None: the most probable one.
        method: name of the refinement.
        layers: names of the layers whose features are used, from fine to coarse; empty: they are
            found.
        threshold: value of the map above which a pixel belongs to the object.

    """

    model: str
    label: int | None
    method: str
    layers: tuple[str, ...]
    threshold: float


def python_code(choices: Choices, file: str, device: str = "cpu") -> str:
    """Return a script that finds the box which the page shows.

    Args:
        choices: what is chosen.
        file: name of the photograph.
        device: the device that the page uses; the script moves the model there.

    Example:
        >>> print(python_code(Choices("efficientnet-lite0", 967, "scg", (), 0.34), "cup.jpg"))
        from wsolrefine import Localizer, load_classifier
        <BLANKLINE>
        classifier = load_classifier()
        localizer = Localizer(classifier, refine="scg", threshold=0.34)
        found = localizer.open("cup.jpg", labels=967)
        print(found.boxes[0, 0].tolist())
        <BLANKLINE>

    """
    model = "" if choices.model == DEFAULT_CLASSIFIER else _quoted(choices.model)
    options = [f"refine={_quoted(choices.method)}", f"threshold={choices.threshold:g}"]
    if choices.layers:
        options.append(f"layers=[{', '.join(map(_quoted, choices.layers))}]")
    moved = "" if device == "cpu" else f".to({_quoted(device)})"
    label = "" if choices.label is None else f", labels={choices.label}"
    return (
        "from wsolrefine import Localizer, load_classifier\n\n"
        f"classifier = load_classifier({model})\n"
        f"localizer = Localizer(classifier, {', '.join(options)}){moved}\n"
        f"found = localizer.open({_quoted(file)}{label})\n"
        "print(found.boxes[0, 0].tolist())\n"
    )


def _quoted(text: str) -> str:
    """Return text as Python code, in double quotes where it has none itself."""
    plain = repr(text)
    return plain if '"' in text or "'" in text else f'"{plain[1:-1]}"'
