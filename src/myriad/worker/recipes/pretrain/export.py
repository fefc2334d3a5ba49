"""The trained model as an ordinary Hugging Face Llama folder, which any engine can serve.

Written beside its place and moved there whole, so that nobody ever reads half a model.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import distributed

from myriad.worker import checkpoints
from myriad.worker.recipes.pretrain import config as recipe
from myriad.worker.recipes.pretrain import corpus
from myriad.worker.recipes.pretrain.model import hugging_face_name
from myriad.worker.recipes.pretrain.state import State

#: The model continues code, so a conversation is its text, one message after the other.
_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "{% endfor %}"
)
#: How the model answers unless a client asks otherwise; greedy, a small model repeats itself.
_SAMPLING = {"do_sample": True, "temperature": 0.7, "top_p": 0.95}


def write(config: recipe.Config, state: State, root: Path, output: Path, loss: float) -> None:
    """Gather the weights (every rank takes part); rank 0 writes `output/model` and `output/run.json`."""
    weights = {
        hugging_face_name(name): weight.detach().full_tensor().cpu().contiguous()
        for name, weight in state.model.named_parameters()
    }
    if distributed.get_rank():
        return
    output.mkdir(parents=True, exist_ok=True)
    half = output / "model.tmp"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    _write_model(half, config, weights, corpus.folder(root, config) / corpus.TOKENIZER)
    _put_in_place(half, output / "model")
    checkpoints.write_json(output / "run.json", _summary(config, state.step, loss))


def _write_model(folder: Path, config: recipe.Config, weights: dict[str, Any], tokenizer: Path) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(tokenizer, folder / corpus.TOKENIZER)
    start, end, pad = recipe.SPECIAL_TOKENS
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    named = {"bos_token": start, "eos_token": end, "pad_token": pad}
    files = {
        "config.json": _model_config(config.model) | ids,
        "generation_config.json": ids | _SAMPLING,
        "special_tokens_map.json": named,
        "tokenizer_config.json": named
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config.model.context,
            "clean_up_tokenization_spaces": False,
            "chat_template": _CHAT_TEMPLATE,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _model_config(model: recipe.Model) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": model.hidden,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_width,
        "vocab_size": model.vocab,
        "max_position_embeddings": model.context,
        "rope_theta": model.rope_theta,
        "rms_norm_eps": model.norm_epsilon,
        "tie_word_embeddings": model.tied_embeddings,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "dtype": "float32",
    }


def _put_in_place(half: Path, place: Path) -> None:
    """A folder cannot replace a full one in one move, so the old one steps aside first."""
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    half.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _summary(config: recipe.Config, step: int, loss: float) -> dict[str, object]:
    return {
        "steps": step,
        "loss": loss,
        "parameters": recipe.parameter_count(config.model),
        "tokens": step * config.tokens_per_step,
        "model": "model",
    }
