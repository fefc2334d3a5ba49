"""Text into tokens: read a folder, train a byte-level BPE on it, keep both beside the checkpoints.

Built once, by rank 0 of the first attempt, and moved into place whole. Later attempts find it and use
the same tokenizer and the same tokens, even if the folder of text has changed since: a resumed run
continues the run that was interrupted.
"""

import hashlib
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from myriad.kernel.errors import UserError
from myriad.worker.recipes.pretrain import config as recipe

TOKENIZER = "tokenizer.json"
_TOKENS = "tokens.npy"
#: Not a library's own code, or not there on every machine.
_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"}


def folder(root: Path, config: recipe.Config) -> Path:
    """Where the corpus of a configuration is kept; another corpus or vocabulary is another folder."""
    key = msgspec.json.encode([config.data, config.model.vocab])
    return root / f"corpus-{hashlib.blake2b(key, digest_size=6).hexdigest()}"


def prepare(root: Path, config: recipe.Config) -> None:
    """Build the corpus unless it is there. Raises UserError when there is no text to learn from."""
    place = folder(root, config)
    if place.exists():
        return
    texts = list(_texts(config.data))
    half = place.with_name(place.name + ".tmp")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    tokenizer = _trained(texts, config.model.vocab)
    tokenizer.save(str(half / TOKENIZER))
    np.save(half / _TOKENS, _encoded(tokenizer, texts, config))
    half.rename(place)


def tokens(root: Path, config: recipe.Config) -> np.ndarray:
    """The corpus as one array on disk, mapped."""
    mapped: np.ndarray = np.load(folder(root, config) / _TOKENS, mmap_mode="r")
    return mapped


def windows(array: np.ndarray, context: int) -> int:
    """Sequences in the corpus; each is `context` tokens and the one that follows."""
    return (len(array) - 1) // context


def _texts(data: recipe.Data) -> Iterator[str]:
    """Files in sorted order until the limit is reached; unreadable bytes are replaced."""
    left = data.limit_bytes
    for path in _files(data):
        content = path.read_bytes()[:left]
        left -= len(content)
        if content.strip():
            yield content.decode("utf-8", errors="replace")
        if left <= 0:
            return


def _files(data: recipe.Data) -> list[Path]:
    standard = data.corpus == recipe.STDLIB
    root = Path(sysconfig.get_path("stdlib")) if standard else Path(data.corpus)
    if not root.is_dir():
        raise UserError(
            "is not a folder on this node",
            field="config: data.corpus",
            value=data.corpus,
            remedy=f"Give a folder that every node can read, or {recipe.STDLIB!r}",
        )
    skipped = _SKIPPED if standard else set()
    found = [path for path in root.rglob(data.pattern) if path.is_file()]
    files = sorted(p for p in found if not skipped & set(p.relative_to(root).parts))
    if not any(path.stat().st_size for path in files):
        raise UserError(
            f"holds no text that matches {data.pattern!r}",
            field="config: data.corpus",
            value=data.corpus,
            remedy="Check the folder, or set data.pattern (for example '*.txt')",
        )
    return files


def _trained(texts: list[str], vocab: int) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(recipe.SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    start = recipe.SPECIAL_TOKENS[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A",
        pair=f"{start} $A $B",
        special_tokens=[(start, tokenizer.token_to_id(start))],
    )
    return tokenizer


def _encoded(tokenizer: tokenizers.Tokenizer, texts: list[str], config: recipe.Config) -> np.ndarray:
    end = tokenizer.token_to_id(recipe.SPECIAL_TOKENS[1])
    kind = np.uint16 if config.model.vocab <= 1 << 16 else np.uint32
    parts = [np.array([*found.ids, end], dtype=kind) for found in tokenizer.encode_batch(texts)]
    array = np.concatenate(parts)
    if windows(array, config.model.context) < 1:
        raise UserError(
            f"has {len(array)} tokens, less than one sequence of {config.model.context} and its target",
            field="config: data.corpus",
            value=config.data.corpus,
            remedy="Give more text or a smaller model.context",
        )
    return array
