"""CLIP and SigLIP as classifiers: the classes are texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsolrefine.models.classifier import Classifier
from wsolrefine.models.from_transformers import library, preprocess_of_transformers


class ZeroShot(nn.Module):
    """Logits that are the similarity of an image to each of some texts.

    The logit of text k is ``scale * cos(image, text_k) + bias``: the vector of the image, divided
    by its length, goes through a linear layer whose weights are those of the texts.

    Args:
        model: an image-text model of transformers: CLIP, SigLIP or one of their form.
        texts: unit vectors of the texts, ``(K, D)``; they stay as they are.

    """

    def __init__(self, model: Any, texts: Tensor) -> None:
        super().__init__()
        self.vision_model: nn.Module = model.vision_model
        # SigLIP has no projection.
        self.visual_projection: nn.Module = getattr(model, "visual_projection", nn.Identity())
        self.image_size = model.config.vision_config.image_size
        self.num_classes = len(texts)
        self.head = nn.Linear(texts.shape[1], len(texts))
        bias = getattr(model, "logit_bias", None)
        with torch.no_grad():
            self.head.weight.copy_(model.logit_scale.exp() * texts)
            self.head.bias.fill_(0.0 if bias is None else float(bias))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, K)`` of images ``(B, 3, H, W)``."""
        options: dict[str, bool] = {}
        if tuple(images.shape[-2:]) != (self.image_size, self.image_size):
            options["interpolate_pos_encoding"] = True
        vectors = self.vision_model(pixel_values=images, **options).pooler_output
        logits: Tensor = self.head(F.normalize(self.visual_projection(vectors), dim=-1))
        return logits


def zero_shot(name: str, texts: list[str] | None) -> Classifier:
    """Return a classifier of texts.

    Args:
        name: of a model on the Hub, or a folder of ``save_pretrained``.
        texts: a text for each class, used as it is.

    Raises:
        ValueError: there are no texts, or the model does not compare images with texts.

    """
    spec = f"clip:{name}"
    if texts is None:
        raise ValueError(
            f"class_names: expected the texts that {spec} compares images with, such as "
            "'a photo of a cup', got None"
        )
    transformers = library(spec)
    model = transformers.AutoModel.from_pretrained(name, trust_remote_code=False).eval()
    if not all(hasattr(model, part) for part in ("vision_model", "text_model", "logit_scale")):
        raise ValueError(
            f"spec: expected a model of images and texts, such as CLIP or SigLIP, got {spec!r} "
            f"({type(model).__name__})"
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    vectors = _text_vectors(model, tokenizer, texts)
    preprocess = preprocess_of_transformers(name, spec)
    return Classifier(ZeroShot(model, vectors).eval(), preprocess, texts, spec)


def _text_vectors(model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    config = model.config.text_config
    # SigLIP was trained on texts of one length, and reads the last position.
    is_siglip = "siglip" in str(model.config.model_type)
    tokens = tokenizer(
        texts,
        padding="max_length" if is_siglip else True,
        truncation=True,
        max_length=config.max_position_embeddings,
        return_tensors="pt",
    )
    side = model.config.vision_config.image_size
    inputs = {key: tokens[key] for key in ("input_ids", "attention_mask") if key in tokens}
    if is_siglip:  # which was trained without a mask
        inputs.pop("attention_mask", None)
    with torch.no_grad():
        found: Tensor = model(**inputs, pixel_values=torch.zeros(1, 3, side, side)).text_embeds
    return F.normalize(found, dim=-1)
