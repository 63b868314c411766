"""Translation by an encoder-decoder whose two halves start from one checkpoint."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import EncoderDecoderModel, PreTrainedModel, PreTrainedTokenizerBase

from electra_plus.data.example_files import Row
from electra_plus.metrics import load_metric
from electra_plus.pipelines.translation import MachineTranslationPipeline
from electra_plus.recipes.tasks.task import Encoded, Task, load_head, pad_rows

# each loss of an encoder-decoder warns of what was otherwise before transformers 4.12
warnings.filterwarnings("ignore", message="Version v4.12.0 introduces")
AT_ONCE = 256  # texts between two moves of the bar
CHINESE = ("\u4e00", "\u9fff")  # first and last character


@dataclass
class Translation(Task):
    """
    Translate a text, both languages by the one tokenizer of the checkpoint.

    Encoder and decoder are warm-started with the same weights; what the decoder needs to look at the source is new. A checkpoint
    whose tokenizer keeps capitals and accents gives translations that have them (`electra-plus prepare --cased`, on text of both
    languages).

    Args:
        num_beams (`int`, *optional*, defaults to 4): Translations kept in the search; 1 takes the likeliest token each time.

    Source: Rothe et al. 2020, https://arxiv.org/abs/1907.12461, for encoder-decoders from encoders.
    """

    num_beams: int = 4

    name: ClassVar[str] = "translation"
    model_class: ClassVar[str] = "EncoderDecoderModel"
    auto_class: ClassVar[str] = "AutoModelForSeq2SeqLM"
    # the head predicts the next token here and a token between others there, where it is there at all
    head: ClassVar[tuple[str, ...]] = ("generator_predictions.", "generator_lm_head.")
    pipeline: ClassVar[str | None] = "machine-translation"
    own_pipeline: ClassVar[str | None] = "machine-translation"
    metrics: ClassVar[tuple[str, ...]] = ("bleu", "chrf")
    # half of the network is new or has to learn to look one way
    training: ClassVar[dict[str, Any]] = {"learning_rate": 5e-4, "layerwise_lr_decay": None}
    packs: ClassVar[bool] = False
    writes: ClassVar[bool] = True

    def __post_init__(self):
        if self.num_beams < 1:
            raise ValueError(f"`num_beams` must be at least 1, got {self.num_beams}.")

    def learn(self, examples: Sequence[Row]) -> None:
        load_metric("sacrebleu")  # a missing package is told before hours of training

    def load(
        self, checkpoint: str, tokenizer: PreTrainedTokenizerBase, fields: dict[str, Any]
    ) -> tuple[PreTrainedModel, list[str]]:
        encoder, missing = load_head("ElectraPlusModel", checkpoint, fields)
        of_decoder = {
            "is_decoder": True,
            "add_cross_attention": True,
            "use_cache": True,
            "generator_config": None,
            **fields,
        }
        decoder, also_missing = load_head("ElectraPlusForCausalLM", checkpoint, of_decoder)
        model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
        start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        for config in (model.config, model.generation_config):
            config.decoder_start_token_id = start
            config.eos_token_id = tokenizer.sep_token_id
            config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.num_beams = self.num_beams
        model.generation_config.use_cache = True
        return model, [*missing, *(name for name in also_missing if ".crossattention." not in name)]

    def encode(self, examples: Sequence[Row], tokenizer: PreTrainedTokenizerBase, with_targets: bool = True) -> Encoded:
        rows, cut = [], 0
        columns = {}
        for field in ("source", "target") if with_targets else ("source",):
            texts = [example[field] for example in examples]
            columns[field] = tokenizer(texts, verbose=False, return_token_type_ids=False)["input_ids"]
        for ids in zip(*columns.values(), strict=True):
            cut += any(len(one) > self.max_length for one in ids)
            source, *target = (
                [*one[: self.max_length - 1], one[-1]] if len(one) > self.max_length else one for one in ids
            )
            # the first token is what the decoder starts from, and none that it predicts
            rows.append({"input_ids": source, **({"labels": target[0][1:]} if target else {})})
        remarks = [f"{cut:,} of {len(rows):,} pairs are cut to {self.max_length} tokens"] if cut else []
        return Encoded(rows, list(range(len(rows))), remarks)

    def pad(self, rows: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
        batch = pad_rows([{"input_ids": row["input_ids"]} for row in rows], pad_token_id)
        if "labels" in rows[0]:
            targets = pad_rows([{"input_ids": row["labels"]} for row in rows], pad_token_id)
            batch["labels"] = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, -100)
        return batch

    @torch.no_grad()
    def write(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: Sequence[Row],
        on_done: Callable[[int], Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Return a translation of each source, whatever its length."""
        translate = MachineTranslationPipeline(model=model, tokenizer=tokenizer)
        found = []
        for start in range(0, len(examples), AT_ONCE):
            texts = [example["source"] for example in examples[start : start + AT_ONCE]]
            found += [
                {"prediction": one["translation_text"]}
                for one in translate(texts, num_beams=self.num_beams, batch_size=32)
            ]
            if on_done is not None:
                on_done(len(texts))
        return found

    def judge(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Row]) -> dict[str, float]:
        written = [prediction["prediction"] for prediction in predictions]
        references = [example["target"] for example in examples]
        characters = "".join(references)
        chinese = sum(CHINESE[0] <= character <= CHINESE[1] for character in characters)
        how = {"tokenize": "zh"} if chinese > len(characters) / 2 else {}
        scores = {"bleu": load_metric("sacrebleu", **how), "chrf": load_metric("chrf")}
        return {
            name: metric.compute(predictions=written, references=references)["score"] for name, metric in scores.items()
        }
