"""Masking for replaced token detection: which slots the generator must fill, and what it sees there."""

import copy
import hashlib
import importlib.util
import itertools
import os
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Generator, Tensor
from torch.utils.data import get_worker_info
from transformers import PreTrainedTokenizerBase

from electra_plus.data.length_ramp import LengthRamp
from electra_plus.data.row_rules import document_numbers


def hashed_seed(name: str) -> int:
    """Return a seed of 63 bits for what has this name: the same in every process, unrelated to that of the next number."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def num_slots_to_mask(num_tokens: Tensor, num_candidates: Tensor, mask_rate: float) -> Tensor:
    r"""
    Return how many slots to mask in each row: `mask_rate` of all its tokens, at least 1, at most the candidates.

    Args:
        num_tokens (`torch.LongTensor` of shape `(batch_size,)`): Tokens that are not padding, special ones included.
        num_candidates (`torch.LongTensor` of shape `(batch_size,)`): Tokens that may be masked.
        mask_rate (`float`): Fraction of tokens in (0, 1).

    Source: google-research/electra, `pretrain/pretrain_helpers.py`, function `mask`. It draws with replacement, so that
    some slots come twice and are masked once; here the slots are distinct.
    """
    wanted = (num_tokens * mask_rate).round().long().clamp(min=1)
    return torch.minimum(wanted, num_candidates)


def choose_slots(candidates: Tensor, num_masked: Tensor, rng: Generator) -> Tensor:
    r"""
    Choose distinct slots at random, the same number of them for every draw.

    Args:
        candidates (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True where a token may be masked.
        num_masked (`torch.LongTensor` of shape `(batch_size,)`): Slots to choose, at most the row's candidates.
        rng (`torch.Generator`): Source of randomness.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`
    """
    scores = torch.rand(candidates.shape, generator=rng).masked_fill(~candidates, -1.0)
    ranks = scores.argsort(dim=-1, descending=True).argsort(dim=-1)
    return ranks < num_masked[:, None]


def choose_whole_words(candidates: Tensor, continues: Tensor, num_masked: Tensor, rng: Generator) -> Tensor:
    r"""
    Choose slots word by word: all tokens of a word or none.

    Words come in random order; one that would exceed the row's budget is passed over, but a row gets at least one word.

    Args:
        candidates (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True where a token may be masked.
        continues (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True where a token continues a word.
        num_masked (`torch.LongTensor` of shape `(batch_size,)`): Budget of each row, in tokens.
        rng (`torch.Generator`): Source of randomness.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`
    """
    chosen = torch.zeros_like(candidates)
    for row in range(len(candidates)):
        words: list[list[int]] = []
        for slot in candidates[row].nonzero().flatten().tolist():
            # a word goes on only from the slot just before
            if continues[row, slot] and words and words[-1][-1] == slot - 1:
                words[-1].append(slot)
            else:
                words.append([slot])
        budget = int(num_masked[row])
        picked: list[int] = []
        for index in torch.randperm(len(words), generator=rng).tolist():
            if len(picked) + len(words[index]) <= budget or not picked:
                picked.extend(words[index])
            if len(picked) >= budget:
                break
        chosen[row, picked] = True
    return chosen


def is_cjk(character: str) -> bool:
    """True for a Chinese character (CJK unified ideographs and extension A), which BERT tokenizers split off alone."""
    return len(character) == 1 and ("\u4e00" <= character <= "\u9fff" or "\u3400" <= character <= "\u4dbf")


class DataCollatorForReplacedTokenDetection:
    r"""
    Pads rows and masks them as ELECTRA does: 15 % of the tokens, of these 85 % as `[MASK]` and 15 % unchanged.

    There are no random tokens (unlike BERT), and special tokens are never masked. The batch holds `input_ids`,
    `attention_mask` and `labels` (the original ids at chosen slots, -100 elsewhere), for [`ElectraPlusForPreTraining`] or any
    masked LM. The masks depend on `seed`, the rank of the process and the number of the batch, never on torch's global
    random state: evaluation cannot disturb training, and each process of a distributed run draws its own.

    Rows may hold several documents, as those of [`load_prepared`] do; the batch then says which token belongs to which.

    Args:
        tokenizer ([`PreTrainedTokenizerBase`]): With a mask token.
        mask_rate (`float`, *optional*, defaults to 0.15): Fraction of each row's tokens to choose, in (0, 1).
        keep_rate (`float`, *optional*, defaults to 0.15): Fraction of the chosen tokens left as they are, in [0, 1].
        whole_word (`bool`, *optional*, defaults to `False`):
            Choose whole words. Needs a WordPiece tokenizer; Chinese words are found by jieba where it is installed, else
            each character is a word.
        pad_to_multiple_of (`int`, *optional*): Round the length of the batch up, in tokens.
        static_slots (`bool`, *optional*, defaults to `False`):
            Add `num_masked_slots` (`int`) to the batch: a bound of the masked slots that is the same for batches of one shape,
            so that a step of our models neither waits for the device nor is compiled anew.
        seed (`int`, *optional*, defaults to 0): Start of the random sequence.
        rank (`int`, *optional*): Number of the process. `None` asks the launcher's `RANK` variable, else 0.
        final_mask_rate (`float`, *optional*):
            What `mask_rate` becomes, in even steps from batch to batch over `num_batches`. `None` keeps it.
        num_batches (`int`, *optional*): Of the whole training in this process: optimizer steps times accumulated batches.
        length_ramp ([`LengthRamp`], *optional*):
            Cut the rows of the first batches into shorter ones. The fraction masked stays the same, but for rounding in each
            row. `None` never cuts.

    Raises:
        ValueError: A rate outside its range, a tokenizer without mask token or, for `whole_word`, without `##` tokens, or
            shorter rows than `pad_to_multiple_of` allows.

    Example:

    ```python
    >>> from electra_plus import DataCollatorForReplacedTokenDetection
    >>> from electra_plus.data.tokenization import train_wordpiece_tokenizer
    >>> tokenizer = train_wordpiece_tokenizer(["a cat sat on a mat"] * 9, vocab_size=60)
    >>> collator = DataCollatorForReplacedTokenDetection(tokenizer, seed=1)
    >>> batch = collator([tokenizer("a cat sat"), tokenizer("a mat")])
    >>> batch["labels"].shape, (batch["labels"] != -100).sum(dim=1).tolist()
    (torch.Size([2, 5]), [1, 1])

    ```

    Source: Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 3.1 and appendix A.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        mask_rate: float = 0.15,
        keep_rate: float = 0.15,
        whole_word: bool = False,
        pad_to_multiple_of: int | None = None,
        static_slots: bool = False,
        seed: int = 0,
        rank: int | None = None,
        final_mask_rate: float | None = None,
        num_batches: int | None = None,
        length_ramp: LengthRamp | None = None,
    ):
        if tokenizer.mask_token_id is None:
            raise ValueError(
                "`tokenizer` has no mask token. Add one: `tokenizer.add_special_tokens({'mask_token': '[MASK]'})`."
            )
        for name, rate in (("mask_rate", mask_rate), ("final_mask_rate", final_mask_rate)):
            if rate is not None and not 0 < rate < 1:
                raise ValueError(
                    f"`{name}` must be in (0, 1), got {rate}. ELECTRA uses 0.15, and 0.25 for large models."
                )
        if final_mask_rate is not None and (num_batches is None or num_batches < 1):
            raise ValueError(f"`final_mask_rate` needs `num_batches`, at least 1, got {num_batches}.")
        if not 0 <= keep_rate <= 1:
            raise ValueError(f"`keep_rate` must be in [0, 1], got {keep_rate}.")
        if length_ramp is not None and length_ramp.initial_row_length % (pad_to_multiple_of or 1):
            raise ValueError(
                f"`initial_row_length` ({length_ramp.initial_row_length}) must be a multiple of `pad_to_multiple_of` "
                f"({pad_to_multiple_of}), or short rows would be padded. Lower the latter."
            )
        self.tokenizer = tokenizer
        self.mask_rate = mask_rate
        self.final_mask_rate = final_mask_rate
        self.num_batches = num_batches
        self.length_ramp = length_ramp
        self.keep_rate = keep_rate
        self.whole_word = whole_word
        self.pad_to_multiple_of = pad_to_multiple_of
        self.static_slots = static_slots
        self.seed = seed
        self.rank = rank
        self.start_at(0)
        if whole_word and not any(self._continues_word.tolist()):
            raise ValueError(
                "`whole_word=True` needs a WordPiece tokenizer, whose tokens inside words start with '##'."
            )

    @cached_property
    def _special_ids(self) -> Tensor:
        return torch.tensor(sorted(set(self.tokenizer.all_special_ids)))

    @cached_property
    def _continues_word(self) -> Tensor:
        """For every token of the vocabulary, whether it starts with `##`."""
        tokens = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        return torch.tensor([token is not None and token.startswith("##") for token in tokens])

    def start_at(self, step: int) -> None:
        """Give the next batch made the number `step`, for instance after a resume or before workers start anew."""
        self._first_step = step
        self._num_calls = 0

    def for_evaluation(self) -> "DataCollatorForReplacedTokenDetection":
        """Return a collator that masks the same way, from batch 0 and without schedules, so that evaluations stay comparable."""
        collator = copy.copy(self)
        collator.start_at(0)
        collator.final_mask_rate = collator.length_ramp = None
        return collator

    def mask_rate_at(self, step: int) -> float:
        """Return the fraction of tokens to choose in batch number `step` of a process."""
        if self.final_mask_rate is None:
            return self.mask_rate
        share = min(1.0, step / self.num_batches)
        return self.mask_rate + share * (self.final_mask_rate - self.mask_rate)

    def _next_step(self) -> int:
        """Return the number of the next batch."""
        # Workers take turns: batch k comes from worker k % num_workers. Counting like this gives batch k the same masks
        # whatever the number of workers.
        worker = get_worker_info()
        call = self._num_calls if worker is None else self._num_calls * worker.num_workers + worker.id
        self._num_calls += 1
        return self._first_step + call

    def _rng_of(self, step: int) -> Generator:
        """Return the source of randomness of a batch."""
        rank = int(os.environ.get("RANK", 0)) if self.rank is None else self.rank
        # Batches are numbered over all processes, as the stock Trainer deals them out: several processes then give the masks
        # that one gives which accumulates as many batches.
        number = step * max(int(os.environ.get("WORLD_SIZE", 1)), rank + 1) + rank
        return Generator().manual_seed(hashed_seed(f"{self.seed},0,{number}"))

    def __call__(
        self, features: Sequence[Mapping[str, object] | Sequence[int]], step: int | None = None
    ) -> dict[str, Tensor | int]:
        r"""
        Make a batch.

        Args:
            features: Rows as a tokenizer returns them (`input_ids` and, if given, `token_type_ids`, `special_tokens_mask`
                and so on) or plain lists of ids. A row of several documents says so in `document_lengths` (tokens of each,
                one after the other) or `document_ids` (for each token, the same number within a document).
            step (`int`, *optional*): Number of the batch, which determines the masks. `None` counts the calls.

        Returns:
            `dict`: `input_ids`, `attention_mask`, `labels`, and `token_type_ids` if the rows have them, each a
            `torch.LongTensor` of shape `(batch_size, sequence_length)`; with `static_slots` also `num_masked_slots`. If a row
            says what documents it holds, also `position_ids` (from 0 in each document) and `document_ids` (numbered through
            the batch, -1 for padding), as [`DataCollatorForPacking`] makes them.

        Raises:
            ValueError: `document_lengths` or `document_ids` do not cover the tokens of their row, or a row cannot be cut.
        """
        step = self._next_step() if step is None else step
        rows = [dict(row) if isinstance(row, Mapping) else {"input_ids": list(row)} for row in features]
        if self.length_ramp is not None and step < self.length_ramp.num_batches:
            rows = [piece for row in rows for piece in self.length_ramp.cut(_with_document_ids(row), step)]
        special_masks = [row.pop("special_tokens_mask", None) for row in rows]
        documents = [_documents_of_row(row) for row in rows]
        batch = self.tokenizer.pad(rows, return_tensors="pt", pad_to_multiple_of=self.pad_to_multiple_of)
        input_ids, attention_mask = batch["input_ids"], batch["attention_mask"]
        candidates = (attention_mask == 1) & ~torch.isin(input_ids, self._special_ids)
        for row, special in enumerate(special_masks):
            if special is not None:
                start = input_ids.shape[1] - len(special) if self.tokenizer.padding_side == "left" else 0
                candidates[row, start : start + len(special)] &= ~torch.as_tensor(special).bool()
        batch["input_ids"], batch["labels"] = self.mask(input_ids, candidates, attention_mask.sum(dim=1), step)
        batch = dict(batch)
        if any(numbers is not None for numbers in documents):
            batch.update(_packed_fields(documents, attention_mask, self.tokenizer.padding_side == "left"))
        if self.static_slots:
            num_rows, length = input_ids.shape
            highest = max(self.mask_rate, self.final_mask_rate or 0.0)
            of_full_row = num_slots_to_mask(torch.tensor(length), torch.tensor(length), highest)
            # a row gets at least one whole word, which may exceed its budget
            batch["num_masked_slots"] = max(num_rows * int(of_full_row), int((batch["labels"] != -100).sum()))
        return batch

    def mask(
        self, input_ids: Tensor, candidates: Tensor, num_tokens: Tensor, step: int | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""
        Mask a padded batch.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The text.
            candidates (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True where a token may be masked.
            num_tokens (`torch.LongTensor` of shape `(batch_size,)`): Tokens of each row that are not padding.
            step (`int`, *optional*): As in `__call__`.

        Returns:
            `tuple`: masked ids and labels, both of shape `(batch_size, sequence_length)`.
        """
        step = self._next_step() if step is None else step
        rng = self._rng_of(step)
        num_masked = num_slots_to_mask(num_tokens, candidates.sum(dim=1), self.mask_rate_at(step))
        if self.whole_word:
            chosen = choose_whole_words(candidates, self._word_continuations(input_ids), num_masked, rng)
        else:
            chosen = choose_slots(candidates, num_masked, rng)
        kept = torch.rand(input_ids.shape, generator=rng) < self.keep_rate
        masked_ids = input_ids.masked_fill(chosen & ~kept, self.tokenizer.mask_token_id)
        return masked_ids, input_ids.masked_fill(~chosen, -100)

    def _word_continuations(self, input_ids: Tensor) -> Tensor:
        continues = self._continues_word[input_ids]
        if importlib.util.find_spec("jieba") is not None:
            for row, ids in enumerate(input_ids.tolist()):
                continues[row] |= _chinese_continuations(self.tokenizer.convert_ids_to_tokens(ids))
        return continues


def _documents_of_row(row: dict[str, object]) -> list[int] | None:
    """Take what a row says of its documents out of it; return the number of each token's document, or `None`."""
    num_tokens = len(row["input_ids"])
    lengths, numbers = row.pop("document_lengths", None), row.pop("document_ids", None)
    if lengths is not None:
        if sum(lengths) != num_tokens or min(lengths) < 1:
            raise ValueError(
                f"`document_lengths` must be positive and sum up to the row's {num_tokens} tokens, got {list(lengths)}."
            )
        return document_numbers(lengths)
    if numbers is not None and len(numbers) != num_tokens:
        raise ValueError(
            f"`document_ids` must have one number for each of the row's {num_tokens} tokens, got {len(numbers)}."
        )
    return None if numbers is None else list(numbers)


def _with_document_ids(row: dict[str, object]) -> dict[str, object]:
    """Say of each token what `document_lengths` says of the row, so that pieces of the row can say it too."""
    numbers = _documents_of_row(row)
    return row if numbers is None else {**row, "document_ids": numbers}


def _packed_fields(documents: Sequence[list[int] | None], attention_mask: Tensor, pads_left: bool) -> dict[str, Tensor]:
    """Return `position_ids` and `document_ids` of a padded batch; a row that says nothing is one document."""
    width = attention_mask.shape[1]
    table = []
    for numbers in documents:
        numbers = [0] * width if numbers is None else numbers
        padding = [-1] * (width - len(numbers))
        table.append([*padding, *numbers] if pads_left else [*numbers, *padding])
    # one more column in front, so that a row's first token begins a document whatever its number
    numbers = torch.nn.functional.pad(torch.tensor(table).masked_fill(attention_mask == 0, -1), (1, 0), value=-1)
    begins = (numbers[:, 1:] != numbers[:, :-1]) & (numbers[:, 1:] >= 0)
    padding = numbers[:, 1:] < 0
    slots = torch.arange(width).expand_as(attention_mask)
    positions = slots - torch.where(begins, slots, 0).cummax(dim=1).values
    document_ids = begins.flatten().cumsum(dim=0).view_as(begins) - 1
    return {"position_ids": positions.masked_fill(padding, 0), "document_ids": document_ids.masked_fill(padding, -1)}


def _chinese_continuations(tokens: list[str]) -> Tensor:
    """Mark the characters that jieba puts inside a word, in runs of tokens that are single Chinese characters."""
    continues = torch.zeros(len(tokens), dtype=torch.bool)
    if not any(is_cjk(token) for token in tokens):
        return continues
    import jieba

    jieba.setLogLevel("WARNING")  # it would report the loading of its dictionary
    slot = 0
    for chinese, run in itertools.groupby(tokens, key=is_cjk):
        run = list(run)
        # the first character of a word stays unmarked, and so does every other token
        for word in jieba.cut("".join(run)) if chinese else [[token] for token in run]:
            continues[slot + 1 : slot + len(word)] = True
            slot += len(word)
    return continues
