"""A small random BERT, for runs where only the exit codes count."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from onelayer.base.disk import write_json
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.weights import to_theirs
from onelayer.nn.encoder import Encoder
from onelayer.tokens.tokenizer import Tokenizer


def small_bert(folder: Path, vocabulary: Path) -> None:
    """Writes a pretrained model of one layer, 64 wide, with the vocabulary of a directory."""
    tokenizer = Tokenizer.read(vocabulary)
    config = EncoderConfig(
        model_type="bert",
        vocab_size=tokenizer.vocab_size,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=128,
    )
    torch.manual_seed(0)
    state = dict(Encoder(config).state_dict())
    state |= {"pooler.weight": torch.randn(64, 64) * 0.02, "pooler.bias": torch.zeros(64)}
    folder.mkdir()
    write_json(folder / "config.json", {"architectures": ["BertModel"], **config.to_json()})
    save_file(to_theirs(state, config.family, "BertModel"), folder / "model.safetensors")
    tokenizer.write(folder, max_length=config.max_position_embeddings)
