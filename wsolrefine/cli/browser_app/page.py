"""The page: what is chosen on the left, what is found and the code on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from wsolrefine.cli.browser_app.choices import Choices, python_code
from wsolrefine.cli.browser_app.finding import LIKELY, Finder
from wsolrefine.cli.browser_app.pictures import draw
from wsolrefine.data import read_image
from wsolrefine.localization.methods import CAM_ALONE, DEFAULT, METHODS

MOST_PROBABLE = -1
"""The value of the class that is listed first, which is found in each photograph."""

NO_CLASSES = [("most probable", MOST_PROBABLE)]
"""The list of classes before there is a photograph."""

PICTURES = ("CAM", "Map", "Mask", "Box")


def build_page(finder: Finder) -> gr.Blocks:
    """Return the page.

    Args:
        finder: the classifiers that it offers.

    """
    models = list(finder.classifiers)
    stages = finder.stages(models[0])
    # Without analytics no other site is asked for a newer gradio, or told of this page.
    with gr.Blocks(title="wsolrefine", analytics_enabled=False, fill_width=True) as page:
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                file = gr.File(label="Photograph", height=140, elem_id="photograph")
                model = gr.Dropdown(models, value=models[0], label="Model", elem_id="model")
                label = gr.Dropdown(
                    NO_CLASSES,
                    value=MOST_PROBABLE,
                    label="Class",
                    elem_id="class",
                )
                method = gr.Dropdown(list(METHODS), value=DEFAULT, label="Method", elem_id="method")
                layers = gr.Dropdown(
                    list(stages),
                    multiselect=True,
                    label="Layers",
                    info="None: they are found. The first ones are fine and slow.",
                    elem_id="layers",
                )
                threshold = gr.Slider(
                    0, 0.99, METHODS[DEFAULT].threshold, step=0.01, label="Threshold",
                    elem_id="threshold",
                )  # fmt: skip
            with gr.Column(scale=3, min_width=320):
                with gr.Row():
                    pictures = [
                        gr.Image(
                            label=name,
                            interactive=False,
                            format="png",
                            buttons=["download", "fullscreen"],
                            elem_id=name.lower(),
                        )
                        for name in PICTURES
                    ]
                with gr.Row():
                    name = gr.Textbox(label="Class, probability", elem_id="found-class")
                    box = gr.Textbox(label="Box: x0 y0 x1 y1 in pixels", elem_id="found-box")
                    used = gr.Textbox(label="Layers that are used", elem_id="found-layers")
                code = gr.Code(
                    label="Python code that finds this box", language="python", elem_id="code",
                    interactive=False,
                )  # fmt: skip
        inputs = [file, model, label, method, layers, threshold]
        outputs = [*pictures, name, box, used, code, label]

        def show(*values: Any) -> list[Any]:
            return _shown(finder, *values)

        def other_photograph(path: str | None, model: str, label: int, *rest: Any) -> list[Any]:
            return show(path, model, MOST_PROBABLE, *rest)

        def other_model(path: str | None, model: str, label: int, method: str, *rest: Any) -> Any:
            names = gr.update(choices=list(finder.stages(model)), value=[])
            return [*show(path, model, MOST_PROBABLE, method, [], rest[-1]), names]

        def other_method(path: str | None, model: str, label: int, method: str, *rest: Any) -> Any:
            own = METHODS[method].threshold
            usable = gr.update(interactive=method not in CAM_ALONE)
            return [*show(path, model, label, method, rest[0], own), own, usable]

        # One at a time: they share the processor and the model. Of the moves of the slider that
        # come meanwhile only the last one counts.
        common: dict[str, Any] = {
            "inputs": inputs,
            "concurrency_limit": 1,
            "concurrency_id": "model",
            "trigger_mode": "always_last",
            "api_visibility": "private",
        }
        file.change(other_photograph, outputs=outputs, **common)
        model.input(other_model, outputs=[*outputs, layers], **common)
        method.input(other_method, outputs=[*outputs, threshold, layers], **common)
        for component in (label, layers, threshold):
            component.input(show, outputs=outputs, **common)
    return page


def _shown(
    finder: Finder,
    path: str | None,
    model: str,
    label: int,
    method: str,
    layers: Sequence[str] | None,
    threshold: float,
) -> list[Any]:
    """Return the values of all outputs: pictures, texts, code and the list of classes."""
    chosen = () if method in CAM_ALONE else layers or ()
    choices = Choices(
        model,
        None if label == MOST_PROBABLE else label,
        method,
        tuple(name for name in finder.stages(model) if name in chosen),  # from fine to coarse
        threshold,
    )
    nothing = [None] * (len(PICTURES) + 4) + [gr.update(choices=NO_CLASSES, value=MOST_PROBABLE)]
    if path is None:
        return nothing
    try:
        found = finder(path, choices)
        image = read_image(path)
    except (OSError, ValueError) as error:
        gr.Warning(str(error).replace(path, Path(path).name), title="No box")
        return nothing
    refined = found.refined
    index = int(refined.labels)
    names = refined.class_names or [str(number) for number in range(refined.logits.shape[1])]
    x0, y0, x1, y1 = refined.boxes[0, 0].tolist()
    return [
        *draw(image, found),
        f"{names[index].split(',')[0]}, {refined.scores.item():.1%}",
        f"{x0:g} {y0:g} {x1:g} {y1:g}",
        ", ".join(found.layers) or "none",
        python_code(choices, Path(path).name, str(finder.device)),
        gr.update(choices=_classes(names, refined.logits[0]), value=label),
    ]


def _classes(names: Sequence[str], logits: Any) -> list[tuple[str, int]]:
    """Return the classes to choose from: the most probable one, the likely ones, all others."""
    likely = logits.topk(min(LIKELY, len(names)))
    shares = logits.softmax(0)
    first = [(f"{names[i].split(',')[0]}, {shares[i]:.1%}", i) for i in likely.indices.tolist()]
    chosen = {index for _, index in first}
    others = [(name.split(",")[0], i) for i, name in enumerate(names) if i not in chosen]
    return [(f"most probable: {first[0][0]}", MOST_PROBABLE), *first, *others]
