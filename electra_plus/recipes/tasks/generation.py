"""The next word, and so a text that goes on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from electra_plus.data.detokenization import decoded
from electra_plus.data.example_files import Row
from electra_plus.recipes.tasks.task import Encoded, Task


@dataclass
class TextGeneration(Task):
    """
    Next-word prediction on blocks of running text: `[CLS] text [SEP]` one after the other, cut every `max_length` tokens.

    Args:
        max_new_tokens (`int`, *optional*, defaults to 40): Of a continuation.
        temperature (`float`, *optional*, defaults to 0.0): Of the draw; 0 takes the likeliest token each time.
        seed (`int`, *optional*, defaults to 0): Of the draw.
    """

    max_new_tokens: int = 40
    temperature: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "text-generation"
    model_class: ClassVar[str] = "ElectraPlusForCausalLM"
    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    head: ClassVar[tuple[str, ...]] = ("generator_predictions.", "generator_lm_head.")
    pipeline: ClassVar[str | None] = "text-generation"
    metrics: ClassVar[tuple[str, ...]] = ("perplexity",)
    # a model that saw both sides learns anew to see one, in every layer
    training: ClassVar[dict[str, Any]] = {"learning_rate": 5e-4, "layerwise_lr_decay": 1.0}
    packs: ClassVar[bool] = False  # blocks are full as they are
    writes: ClassVar[bool] = True

    def __post_init__(self):
        if self.max_new_tokens < 1:
            raise ValueError(f"`max_new_tokens` must be at least 1, got {self.max_new_tokens}.")
        if self.temperature < 0:
            raise ValueError(f"`temperature` must be 0 or more, got {self.temperature}. 0 takes the likeliest token.")

    def config_fields(self) -> dict[str, Any]:
        return {"is_decoder": True, "use_cache": True}  # stock trainers leave it off in what they save

    def read_config(self, config: PretrainedConfig) -> None:
        if not getattr(config, "is_decoder", True):
            raise ValueError(
                "`--model` predicts words from both sides (`is_decoder` is false). Fine-tune it for this task."
            )

    def encode(self, examples: Sequence[Row], tokenizer: PreTrainedTokenizerBase, with_targets: bool = True) -> Encoded:
        texts = tokenizer([example["text"] for example in examples], verbose=False)["input_ids"]
        stream = [token for ids in texts for token in ids]
        blocks = [stream[start : start + self.max_length] for start in range(0, len(stream), self.max_length)]
        remarks = []
        if len(blocks) > 1 and len(blocks[-1]) < self.max_length:
            remarks.append(f"{len(blocks[-1]):,} of {len(stream):,} tokens at the end fill no block and are left out")
            blocks.pop()
        return Encoded([{"input_ids": ids, "labels": list(ids)} for ids in blocks], list(range(len(blocks))), remarks)

    def judge_loss(self, loss: float) -> dict[str, float]:
        return {"perplexity": math.exp(loss)}

    @torch.no_grad()
    def write(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: Sequence[Row],
        on_done: Callable[[int], Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Return a continuation of each text, up to the token that ends texts."""
        ends_itself = tokenizer.sep_token_id is not None
        encoded = tokenizer([example["text"] for example in examples], verbose=False)["input_ids"]
        # without [SEP], behind which a new text would begin
        prompts = [ids[:-1] if ends_itself and ids[-1] == tokenizer.sep_token_id else ids for ids in encoded]
        room = max(1, self.max_length - self.max_new_tokens)
        by_length: dict[int, list[int]] = {}
        for number, ids in enumerate(prompts):
            prompts[number] = ids[-room:]
            by_length.setdefault(len(prompts[number]), []).append(number)
        draw = (
            {"do_sample": True, "temperature": self.temperature, "top_k": 0}
            if self.temperature
            else {"do_sample": False}
        )
        found: list[dict[str, Any]] = [{} for _ in examples]
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            for length in sorted(by_length):  # texts of one length need no padding
                for start in range(0, len(by_length[length]), 32):
                    numbers = by_length[length][start : start + 32]
                    ids = torch.tensor([prompts[number] for number in numbers], device=model.device)
                    written = model.generate(
                        ids,
                        attention_mask=torch.ones_like(ids),
                        max_new_tokens=self.max_new_tokens,
                        eos_token_id=tokenizer.sep_token_id if ends_itself else tokenizer.eos_token_id,
                        pad_token_id=tokenizer.pad_token_id
                        if tokenizer.pad_token_id is not None
                        else tokenizer.eos_token_id,
                        **draw,
                    )
                    for number, tokens in zip(numbers, written[:, length:], strict=True):
                        found[number] = {"prediction": decoded(tokenizer, tokens)}
                    if on_done is not None:
                        on_done(len(numbers))
        return found
