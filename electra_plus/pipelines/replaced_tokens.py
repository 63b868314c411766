"""Replaced token detection: how likely each word of a text stands in place of another."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForPreTraining

from electra_plus.data.chunking import Chunk, chunk_encoding, encode_texts, tokens_around
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.models.modeling_electra_plus_discriminator import ElectraPlusForReplacedTokenDetection
from electra_plus.pipelines.long_text import OVERLAP, chunk_length_of, given, row_of
from electra_plus.pipelines.token_budget import Row, TokenBudgetPipeline


class AutoModelForReplacedTokenDetection:
    """
    Opens any detector: the discriminator alone of an ElectraPlus checkpoint, joint or not, and stock `ElectraForPreTraining`.

    `AutoModelForPreTraining` would open a folder with a discriminator as a joint model whose generator is new.
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Load a detector; arguments as in [`PreTrainedModel.from_pretrained`]."""
        config = kwargs.get("config") or AutoConfig.from_pretrained(pretrained_model_name_or_path)
        ours = config.model_type == ElectraPlusConfig.model_type
        loader = ElectraPlusForReplacedTokenDetection if ours else AutoModelForPreTraining
        return loader.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)


class ReplacedTokenDetectionPipeline(TokenBudgetPipeline):
    """
    Say for each word of a text how likely it was replaced, by a generator, a corrector or a person.

    A longer text is read in chunks of whole sentences that overlap; a word that two chunks hold is judged where it stands further
    from the border. Texts are batched by length ([`TokenBudgetPipeline`]).
    """

    token_outputs = ("logits",)

    def _sanitize_parameters(self, threshold=None, chunk_length=None, overlap=None):
        if threshold is not None and (not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1):
            raise ValueError(f"`threshold` must be a probability in [0, 1], got {threshold!r}. 0 returns every word.")
        return given(chunk_length=chunk_length, overlap=overlap), {}, given(threshold=threshold)

    def __call__(self, inputs: Any, **kwargs) -> Any:
        """
        Judge the words of one text or several.

        Args:
            inputs (`str`, or `list`, generator or dataset of them): Texts of any length, as they are or corrupted.
            threshold (`float`, *optional*, defaults to 0.0): Probability, in [0, 1], below which a word is left out.
            chunk_length (`int`, *optional*): Most tokens of a chunk; `None` is the longest row the model takes.
            overlap (`int`, *optional*, defaults to 32): Most tokens of whole sentences that two chunks share.
            batch_size, num_workers: As in [`TokenBudgetPipeline`].

        Returns:
            `list[dict]`: for each word `word`, `start` and `end` (characters of the text), and `score`, the probability that it
            was replaced, of a word of several tokens that of the likeliest. Words are the tokenizer's: punctuation marks and
            Chinese characters stand alone. A list of such lists for a list of texts, an iterator for a stream.
        """
        return super().__call__(inputs, **kwargs)

    def rows_of(self, window: list[str], preprocess_params: dict[str, Any]) -> list[list[Row]]:
        around = tokens_around(self.tokenizer)
        return [
            list(self.preprocess(text, encoded=(encoding, around), **preprocess_params))
            for text, encoding in zip(window, encode_texts(window, self.tokenizer), strict=True)
        ]

    def preprocess(
        self, inputs: str, chunk_length: int | None = None, overlap: int | None = None, encoded=None
    ) -> Iterator[Row]:
        length = chunk_length_of(self, chunk_length)
        encoding, around = encoded or (encode_texts([inputs], self.tokenizer)[0], tokens_around(self.tokenizer))
        chunks = chunk_encoding(
            inputs, encoding, around, length, min(OVERLAP, length // 4) if overlap is None else overlap
        )
        for number, chunk in enumerate(chunks, start=1):
            yield {
                **row_of(self, chunk),
                "text": inputs,
                "chunk": chunk,
                "encoding": encoding,
                "is_last": number == len(chunks),
            }

    def postprocess(self, model_outputs: list[Row], threshold: float = 0.0) -> list[dict[str, Any]]:
        text, encoding = model_outputs[0]["text"], model_outputs[0]["encoding"]
        pairs = [(outputs["chunk"], outputs["logits"][0].float()) for outputs in model_outputs]
        scores = tokens_furthest_inside(pairs, len(encoding.ids)).sigmoid().tolist()
        words: list[dict[str, Any]] = []
        previous = None
        for score, (start, end), word_id in zip(scores, encoding.offsets, encoding.word_ids, strict=True):
            if end <= start:
                continue  # a token of no character, such as a byte-level mark
            if word_id is not None and word_id == previous:
                words[-1]["end"] = end
                words[-1]["score"] = max(words[-1]["score"], score)
            else:
                words.append({"word": "", "score": score, "start": start, "end": end})
            previous = word_id
        for word in words:
            word["word"] = text[word["start"] : word["end"]]
        return [word for word in words if word["score"] >= threshold]


def tokens_furthest_inside(pairs: list[tuple[Chunk, Tensor]], num_tokens: int) -> Tensor:
    r"""
    Put the values of chunks that overlap together, each token's from the chunk in which it stands furthest from a border.

    Args:
        pairs (`list[tuple]`): Chunks, and values `(tokens of the chunk,)`, special tokens included.
        num_tokens (`int`): Of the whole text, without special tokens.

    Returns:
        `torch.FloatTensor` of shape `(num_tokens,)`
    """
    found, distances = torch.zeros(num_tokens), torch.full((num_tokens,), -1)
    for chunk, values in pairs:
        places = chunk.text_tokens
        of_text = slice(chunk.first_token, chunk.first_token + len(places))
        tokens = torch.arange(len(places))
        distance = torch.minimum(tokens, tokens.flip(0))
        better = distance > distances[of_text]
        found[of_text] = torch.where(better, values[places.start : places.stop], found[of_text])
        distances[of_text] = torch.where(better, distance, distances[of_text])
    return found
