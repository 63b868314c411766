"""Translation with any encoder-decoder: beam search, sources of like length together, long texts sentence by sentence."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.utils import logging

from electra_plus.data.chunking import split_sentences, without_surrogates
from electra_plus.data.detokenization import decoded
from electra_plus.pipelines.long_text import longest_row
from electra_plus.pipelines.token_budget import Row, TokenBudgetPipeline

logger = logging.get_logger(__name__)

NUM_BEAMS = 4
SHORTEST_LIMIT = 32  # tokens that even the translation of a single word may take


def pieces_that_fit(text: str, count_tokens, longest: int) -> list[str]:
    """
    Cut a text into its sentences, and what of them is still too long in halves, where there is a space near the middle.

    Args:
        text (`str`): Of any length.
        count_tokens (`Callable[[str], int]`): Tokens of a text, special ones included.
        longest (`int`): Most tokens of a piece.

    Example:

    >>> pieces_that_fit("One two. Three four five six.", lambda text: len(text.split()), 3)
    ['One two.', 'Three four', 'five six.']
    """
    pieces = []
    waiting = [text[start:end] for start, end in reversed(split_sentences(text))]
    while waiting:
        piece = waiting.pop()
        if len(piece) < 2 or count_tokens(piece) <= longest:
            pieces.append(piece)
            continue
        middle = len(piece) // 2
        space = min(
            (place for place in (piece.rfind(" ", 0, middle), piece.find(" ", middle)) if place > 0),
            key=lambda place: abs(place - middle),
            default=middle,
        )
        waiting += [half for half in (piece[space:].strip(), piece[:space].strip()) if half]
    return pieces


def joined(pieces: list[str]) -> str:
    """
    Put translated sentences together, with a space where the language has them.

    Example:

    >>> joined(["One.", "Two."]), joined(["很好。", "真的！"])
    ('One. Two.', '很好。真的！')
    """
    text = ""
    for piece in filter(None, pieces):
        no_space = not text or "\u3000" <= text[-1] <= "\u9fff" or "\uff00" <= text[-1] <= "\uffef"
        text += piece if no_space else f" {piece}"
    return text


class MachineTranslationPipeline(TokenBudgetPipeline):
    """
    Translate with an encoder-decoder: [`~transformers.EncoderDecoderModel`] of ours, or a stock model such as Marian.

    A text that the encoder can read is translated whole, a longer one sentence by sentence, which a warning says, as it says when a
    translation ended because it had reached `max_new_tokens`.
    """

    row_outputs = ("sequences",)
    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(num_beams=NUM_BEAMS)

    def __init__(self, *args, target_tokenizer=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.target_tokenizer = target_tokenizer or self.tokenizer
        if not self.model.can_generate() or not getattr(self.model.config, "is_encoder_decoder", False):
            raise ValueError(
                f"`model` must be an encoder-decoder that generates, got {type(self.model).__name__}. Give an "
                "EncoderDecoderModel, a Marian or another model of `AutoModelForSeq2SeqLM`."
            )
        start = (self.model.generation_config.decoder_start_token_id, self.model.generation_config.bos_token_id)
        if all(token is None for token in start):
            raise ValueError(
                "`model.generation_config.decoder_start_token_id` must be set, got None. Set it to the token that "
                "translations began with in training, such as `tokenizer.cls_token_id`."
            )

    def _sanitize_parameters(self, src_lang: str | None = None, tgt_lang: str | None = None, **generate_kwargs):
        if src_lang is not None or tgt_lang is not None:
            for name, code in (("src_lang", src_lang), ("tgt_lang", tgt_lang)):
                if code is not None and not hasattr(self.tokenizer, name):
                    raise ValueError(f"`{name}` is for tokenizers of several languages, got {code!r}. Leave it out.")
                if code is not None:
                    setattr(self.tokenizer, name, code)
            if tgt_lang is not None:
                generate_kwargs["forced_bos_token_id"] = self.tokenizer.convert_tokens_to_ids(tgt_lang)
        return {}, generate_kwargs, {}

    def __call__(self, inputs: Any, **kwargs) -> Any:
        """
        Translate one text or several.

        Args:
            inputs (`str`, or `list`, generator or dataset of them): Texts of any length.
            num_beams (`int`, *optional*, defaults to what `model.generation_config` says, else 4): Translations kept in the search.
            max_new_tokens (`int`, *optional*): Most tokens of a translation; `None` is twice those of the longest source of the
                batch, at least 32, at most what the decoder takes.
            src_lang, tgt_lang (`str`, *optional*): Codes, for tokenizers of several languages.
            batch_size, num_workers: As in [`TokenBudgetPipeline`], but everything runs in the caller's thread.
            kwargs: Whatever else `generate` takes.

        Returns:
            `list[dict]`: `translation_text` of each text, also of a single one; an iterator for a stream. A text without a word
            gives `""`.
        """
        result = super().__call__(inputs, **kwargs)
        return [result] if isinstance(inputs, str) else result

    def _num_threads(self, num_workers: int | None) -> int:
        return 0  # `generate` keeps state in the model

    @property
    def _takes_packed_rows(self) -> bool:
        return False

    def preprocess(self, inputs: str) -> Iterator[Row]:
        text, longest = without_surrogates(inputs), self._longest_source()
        pieces = [text] if text.strip() else []
        if pieces and self._count_tokens(text) > longest:
            pieces = pieces_that_fit(text, self._count_tokens, longest)
            logger.warning(
                f"A text of more than {longest} tokens, which this model can read at once, is translated in {len(pieces)} pieces."
            )
        if not pieces:
            yield {"input_ids": [], "is_last": True}
        for number, piece in enumerate(pieces, start=1):
            row = self.tokenizer(piece, verbose=False)
            names = ("input_ids", "attention_mask", "token_type_ids")
            yield {**{name: row[name] for name in names if name in row}, "is_last": number == len(pieces)}

    def _count_tokens(self, text: str) -> int:
        return len(self.tokenizer(text, verbose=False)["input_ids"])

    def _longest_source(self) -> int:
        encoder = getattr(self.model.config, "encoder", None)
        positions = getattr(encoder, "max_position_embeddings", None)
        return min(longest_row(self), positions) if positions else longest_row(self)

    def _run_batch(self, rows: list[Row], forward_params: dict[str, Any]) -> list[dict[str, Any]]:
        rest = [row for row in rows if row["input_ids"]]
        found = iter(super()._run_batch(rest, forward_params) if rest else [])
        return [next(found) if row["input_ids"] else {"sequences": None} for row in rows]

    def _forward(self, model_inputs: dict[str, Any], **generate_kwargs) -> dict[str, Any]:
        if "token_type_ids" in model_inputs:
            model_inputs.pop("token_type_ids")  # those of the decoder would be of another length
        overrides = {}
        if not {"max_new_tokens", "max_length"} & {**self._generate_kwargs, **generate_kwargs}.keys():
            overrides["max_new_tokens"] = self._most_new_tokens(model_inputs["input_ids"].shape[1])
        arguments = self._prepare_generate_kwargs(generate_kwargs, **overrides)
        sequences = self.model.generate(**model_inputs, **arguments)
        self._say_what_was_cut(sequences)
        copies = (
            sequences.shape[0] // model_inputs["input_ids"].shape[0]
        )  # of `num_return_sequences` the first is the best
        return {"sequences": sequences[::copies]}

    def _most_new_tokens(self, source_length: int) -> int:
        decoder = getattr(self.model.config, "decoder", None)
        decoder = decoder if hasattr(decoder, "max_position_embeddings") else self.model.config
        positions = getattr(decoder, "max_position_embeddings", None)
        most = max(SHORTEST_LIMIT, 2 * source_length)
        return most if positions is None else min(most, positions - 1)

    def _say_what_was_cut(self, sequences: torch.Tensor) -> None:
        ends = self.model.generation_config.eos_token_id
        if ends is None:
            return
        ended = torch.isin(sequences[:, 1:], torch.as_tensor(ends, device=sequences.device)).any(dim=1)
        if not ended.all():
            logger.warning(
                f"{int((~ended).sum())} of {len(ended)} translations were cut off when they reached `max_new_tokens`. Pass a "
                "larger number."
            )

    def postprocess(self, model_outputs: list[Row]) -> dict[str, str]:
        pieces = [
            decoded(self.target_tokenizer, outputs["sequences"][0])
            for outputs in model_outputs
            if outputs["sequences"] is not None
        ]
        return {"translation_text": joined(pieces)}
