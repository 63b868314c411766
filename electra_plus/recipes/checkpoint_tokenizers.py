"""The tokenizer of a checkpoint, and whether rows were made with it: ids of another one train a model on noise."""

from transformers import PreTrainedTokenizerBase

from electra_plus.data.tokenization import load_tokenizer


def tokenizer_beside(checkpoint: str) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer of a folder or Hub name with weights, `None` if it has none."""
    try:
        tokenizer = load_tokenizer(checkpoint)
    except (OSError, ValueError):
        return None
    # a folder without tokenizer files gives one of special tokens only
    return tokenizer if set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens) else None


def refuse_another_vocabulary(
    argument: str, checkpoint: str, tokenizer: PreTrainedTokenizerBase, of: str, cure: str
) -> None:
    """
    Check that a checkpoint reads the ids that a tokenizer gives: by its own tokenizer, or without one by their number.

    Args:
        argument (`str`): How the user named the checkpoint.
        checkpoint (`str`): Folder or Hub name. The model may have more rows than its tokenizer has tokens.
        tokenizer ([`PreTrainedTokenizerBase`]): The one that makes the rows.
        of (`str`): Where that is from, as the error shall say it.
        cure (`str`): A sentence.

    Raises:
        OSError: There is no such checkpoint.
        ValueError: An id stands for another token; or the checkpoint has no tokenizer, and another number of tokens.
    """
    from electra_plus.recipes.evaluation.loading import read_config

    size = read_config(checkpoint, argument).vocab_size
    own = tokenizer_beside(checkpoint)
    if own is None and size != len(tokenizer):
        raise ValueError(
            f"`{argument}` ({checkpoint!r}) must read the vocabulary of {of}: it has {size} tokens, not {len(tokenizer)}, and no "
            f"tokenizer beside it. {cure}"
        )
    if own is None:
        return
    theirs, ours = ({index: token for token, index in one.get_vocab().items()} for one in (own, tokenizer))
    other = [index for index in {**theirs, **ours} if theirs.get(index) != ours.get(index)]
    if other:
        first = min(other)
        raise ValueError(
            f"`{argument}` ({checkpoint!r}) must read the vocabulary of {of}: {len(other)} ids stand for other tokens, such as "
            f"{first} for {theirs.get(first)!r}, not {ours.get(first)!r}. {cure}"
        )
    if size < len(tokenizer):
        raise ValueError(
            f"`{argument}` ({checkpoint!r}) must read the vocabulary of {of}: it has {size} tokens, not {len(tokenizer)}. {cure}"
        )
