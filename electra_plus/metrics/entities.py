"""
Scores of tagged sentences by whole entities: one is right if its type, its first and its last word are.

They equal those of the package seqeval, which this module does not need.
"""

from collections import Counter
from collections.abc import Sequence


def entity_spans(tags: Sequence[str], strict: bool = False) -> set[tuple[str, int, int]]:
    r"""
    Return the entities of one sentence.

    Args:
        tags (sequence of `str`): One tag a word: `"B-PER"` begins an entity, `"I-PER"` goes on, `"O"` is outside.
            `"B"` and `"I"` alone have the type `"_"`.
        strict (`bool`, *optional*, defaults to `False`):
            Whether an `I-` that continues nothing of its type is left out, as IOB2 has it. By default it begins an entity,
            as in CoNLL's own script.

    Returns:
        `set` of `(type, start, end)`: places in `tags`, `end` being the first word after the entity.

    Raises:
        ValueError: A tag begins with neither B, I nor O.

    Example:

    >>> sorted(entity_spans(["B-PER", "I-PER", "O", "I-LOC"]))
    [('LOC', 3, 4), ('PER', 0, 2)]
    >>> entity_spans(["B-PER", "I-PER", "O", "I-LOC"], strict=True)
    {('PER', 0, 2)}
    """
    spans = set()
    entity_type, start = None, 0
    for place, tag in enumerate([*tags, "O"]):  # the last "O" closes an entity at the end
        prefix, _, tag_type = tag.partition("-")
        tag_type = tag_type or "_"
        if prefix not in ("B", "I", "O"):
            raise ValueError(f"A tag must be 'O' or begin with 'B-' or 'I-', got {tag!r}. Convert the tags to IOB2.")
        if prefix == "I" and tag_type == entity_type:
            continue
        if entity_type is not None:
            spans.add((entity_type, start, place))
            entity_type = None
        if prefix == "B" or (prefix == "I" and not strict):
            entity_type, start = tag_type, place
    return spans


def entity_scores(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], strict: bool = False
) -> dict[str, dict[str, float] | float]:
    r"""
    Score tagged sentences by whole entities; a score whose denominator is zero is 0.

    Args:
        predictions, references (sequences of sequences of `str`): Tags of each sentence, see [`entity_spans`].
        strict (`bool`, *optional*, defaults to `False`): Whether an `I-` that continues nothing counts as no entity.

    Returns:
        `dict`: for each type `{"precision", "recall", "f1", "number"}` (`number` counts the references' entities), then
        `overall_precision`, `overall_recall`, `overall_f1` of all entities together, and `overall_accuracy`, the fraction
        of tags that are equal. The keys are those of `evaluate`'s metric seqeval.

    Raises:
        ValueError: Sentences or tags differ in number, there is no tag at all, or a tag is not of IOB2.

    Example:

    >>> scores = entity_scores([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "O"]])
    >>> scores["PER"], scores["overall_precision"]
    ({'precision': 1.0, 'recall': 1.0, 'f1': 1.0, 'number': 1}, 0.5)

    Source: Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419, section 2.4.
    """
    if len(predictions) != len(references):
        raise ValueError(
            f"`predictions` and `references` must have equally many sentences, got {len(predictions)} and {len(references)}."
        )
    right, predicted, expected = Counter(), Counter(), Counter()
    num_tags = num_right_tags = 0
    for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        if len(prediction) != len(reference):
            raise ValueError(
                f"`predictions` and `references` must have one tag a word, got {len(prediction)} and {len(reference)} tags "
                f"in sentence {number}. Leave out the labels of special tokens and of later pieces of a word."
            )
        num_tags += len(reference)
        num_right_tags += sum(map(str.__eq__, prediction, reference))
        found, wanted = entity_spans(prediction, strict), entity_spans(reference, strict)
        predicted.update(entity_type for entity_type, _, _ in found)
        expected.update(entity_type for entity_type, _, _ in wanted)
        right.update(entity_type for entity_type, _, _ in found & wanted)
    if not num_tags:
        raise ValueError("`predictions` and `references` must hold at least one tag, got none.")
    scores = {
        entity_type: {
            **_precision_recall_f1(right[entity_type], predicted[entity_type], expected[entity_type]),
            "number": expected[entity_type],
        }
        for entity_type in sorted(predicted | expected)
    }
    overall = _precision_recall_f1(right.total(), predicted.total(), expected.total())
    return {
        **scores,
        **{f"overall_{name}": score for name, score in overall.items()},
        "overall_accuracy": num_right_tags / num_tags,
    }


def _precision_recall_f1(right: int, predicted: int, expected: int) -> dict[str, float]:
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / expected if expected else 0.0,
        "f1": 2 * right / (predicted + expected) if predicted or expected else 0.0,
    }
