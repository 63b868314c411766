"""Small configurations and inputs that tests share."""

import torch

from electra_plus import ElectraPlusConfig

VOCAB_SIZE = 99


def small_config(flavour: str = "classic", **overrides) -> ElectraPlusConfig:
    """Two layers of width 32 in either flavour; the modern one has a local layer with a window of 8 tokens."""
    fields = {
        "vocab_size": VOCAB_SIZE,
        "embedding_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "local_attention": 8,
    }
    if flavour == "modern":
        fields["global_attn_every_n_layers"] = 2
    return ElectraPlusConfig(flavour=flavour, **{**fields, **overrides})


def joint_config(flavour: str = "classic", generator: dict | None = None, **overrides) -> ElectraPlusConfig:
    """The same with a generator of one layer."""
    generator_config = small_config(flavour, **{"num_hidden_layers": 1, **(generator or {})})
    return small_config(flavour, generator_config=generator_config, **overrides)


def text_batch(batch_size: int = 3, length: int = 17, padded: bool = True) -> dict[str, torch.Tensor]:
    """Random token ids, padded on the right in all rows but the first, with two segments."""
    rng = torch.Generator().manual_seed(batch_size * 1000 + length)
    input_ids = torch.randint(5, VOCAB_SIZE, (batch_size, length), generator=rng)
    attention_mask = torch.ones_like(input_ids)
    if padded:
        for row in range(1, batch_size):
            attention_mask[row, max(5, length - 4 * row) :] = 0
    token_type_ids = torch.randint(0, 2, input_ids.shape, generator=rng)
    return {
        "input_ids": input_ids.masked_fill(attention_mask == 0, 0),
        "attention_mask": attention_mask,
        "token_type_ids": token_type_ids,
    }


def masked_batch(batch_size: int = 3, length: int = 17, num_masked: int = 3) -> dict[str, torch.Tensor]:
    """A batch whose slots 1..num_masked hold mask token 4, with the original ids as labels."""
    batch = text_batch(batch_size, length)
    labels = torch.full_like(batch["input_ids"], -100)
    labels[:, 1 : 1 + num_masked] = batch["input_ids"][:, 1 : 1 + num_masked]
    batch["input_ids"][:, 1 : 1 + num_masked] = 4
    return {**batch, "labels": labels}
