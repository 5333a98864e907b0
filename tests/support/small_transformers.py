"""Small models of transformers with random weights, saved in the folder ``model``."""

import json
from pathlib import Path

import torch

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3}
SMALL["num_attention_heads"] = 4


def processor(**changes):
    config = {"image_processor_type": "CLIPImageProcessor", "resample": 3, "do_normalize": True,
              "size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48},
              "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}  # fmt: skip
    Path("model/preprocessor_config.json").write_text(json.dumps(config | changes))


def tokenizer(library):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<start>", "<end>", "<unknown>", *("a", "cup", "saucer", "of", "photo")]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unknown>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    library.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<start>", eos_token="<end>", pad_token="<end>",
        unk_token="<unknown>", model_max_length=12,
    ).save_pretrained("model")  # fmt: skip


def clip(library, kind):
    text = SMALL | {"vocab_size": 8, "max_position_embeddings": 12}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = SMALL | {"image_size": 48, "patch_size": 8}
    if kind == "clip":
        config = library.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        model = library.CLIPModel(config)
    else:
        config = library.SiglipConfig(text_config=text, vision_config=vision)
        model = library.SiglipModel(config)
        torch.nn.init.constant_(model.logit_scale, 1.5)
        torch.nn.init.constant_(model.logit_bias, -3.0)
    model.eval().save_pretrained("model")
    tokenizer(library)
    processor()
    return model
