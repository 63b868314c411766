"""BERT, RoBERTa, XLM-R and CamemBERT there and back: every bit, every field, the same scores."""

import json

import pytest
import torch
import transformers
from conversion_helpers import assert_bit_equal, config_of, perturbed, saved, weights
from head_helpers import batch_for, make_model
from safetensors.torch import load_file, save_file

import electra_plus
from electra_plus.cli.main import main
from electra_plus.conversion import from_stock, plan_from_stock, plan_to_stock, to_stock
from electra_plus.conversion.families import FAMILIES

VOCAB_SIZE = 99
FIELDS = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "classifier_dropout": 0.4,
    "initializer_range": 0.03,
    "layer_norm_eps": 1e-6,
    "id2label": {0: "no", 1: "maybe"},
    "label2id": {"no": 0, "maybe": 1},
    "house_rule": "a field nobody knows",
}
PREFIXES = {model_type: prefix for family in FAMILIES.values() for model_type, prefix in family.model_types.items()}
CASES = [
    (model_type, end, ours)
    for name in ("bert", "roberta")
    for model_type in FAMILIES[name].model_types
    for end, ours in FAMILIES[name].heads.items()
    if model_type in ("bert", "roberta")
    or (model_type, end) in (("xlm-roberta", "ForMaskedLM"), ("camembert", "Model"))
]


def stock(model_type: str, end: str, **overrides):
    """A model of transformers, moved away from its initial values."""
    config = transformers.AutoConfig.for_model(model_type).__class__
    fields = {**FIELDS, "is_decoder": end in ("LMHeadModel", "ForCausalLM")}
    if model_type != "bert":
        fields["type_vocab_size"] = 1
    model_class = getattr(transformers, PREFIXES[model_type] + end)
    return perturbed(model_class(config(**{**fields, **overrides})))


def batch(our_class: str, model_type: str) -> dict[str, torch.Tensor]:
    """Padded on the right with each type's own padding, which RoBERTa's positions depend on."""
    made = batch_for(our_class)
    if model_type != "bert":
        made.pop("token_type_ids", None)
        made["input_ids"] = made["input_ids"].masked_fill(made["attention_mask"] == 0, 1)
    return {name: tensor for name, tensor in made.items() if "label" not in name and "position" not in name}


def all_scores(outputs, attention_mask) -> dict[str, torch.Tensor]:
    """Scores of tokens that are no padding."""
    names = ("logits", "prediction_logits", "last_hidden_state", "start_logits", "end_logits")
    found = {}
    for name in names:
        score = getattr(outputs, name, None)
        if score is not None:
            is_per_token = score.shape[:2] == attention_mask.shape[:2] and attention_mask.dim() == 2
            found["logits" if name == "prediction_logits" else name] = (
                score[attention_mask == 1] if is_per_token else score
            )
    return found


@pytest.mark.parametrize(("model_type", "end", "our_class"), CASES, ids=[f"{t}-{e}" for t, e, _ in CASES])
def test_there_and_back(model_type, end, our_class, tmp_path):
    before = stock(model_type, end)
    saved(before, tmp_path / "stock")
    assert from_stock(tmp_path / "stock", tmp_path / "ours") == {tmp_path / "ours": our_class}

    ours, info = getattr(electra_plus, our_class).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()) and ours.config.model_type == "electra_plus"
    inputs = batch(our_class, model_type)
    with torch.no_grad():
        expected = all_scores(before(**inputs), inputs["attention_mask"])
        scores = all_scores(ours.eval()(**inputs), inputs["attention_mask"])
    assert scores.keys() == expected.keys() and scores
    for name, score in expected.items():
        torch.testing.assert_close(scores[name], score, rtol=1e-5, atol=1e-5)  # other attention code, other rounding

    family = "bert" if model_type == "bert" else "roberta"
    written = to_stock(tmp_path / "ours", tmp_path / "again", model_type=family)
    assert written == {tmp_path / "again": type(before).__name__}
    assert_bit_equal(weights(tmp_path / "again"), weights(tmp_path / "stock"))
    assert config_of(tmp_path / "again") == config_of(tmp_path / "stock")
    again, info = type(before).from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not any(info.values())


def test_what_is_kept_aside_is_never_loaded(tmp_path):
    saved(stock("roberta", "Model"), tmp_path / "stock")
    from_stock(tmp_path / "stock", tmp_path / "ours")
    aside = load_file(tmp_path / "ours" / "unconverted.safetensors")
    before = weights(tmp_path / "stock")
    assert set(aside) == {"embeddings.position_embeddings.weight", "pooler.dense.weight", "pooler.dense.bias"}
    assert torch.equal(aside["pooler.dense.weight"], before["pooler.dense.weight"])
    table = before["embeddings.position_embeddings.weight"]
    assert torch.equal(aside["embeddings.position_embeddings.weight"], table[:2])
    assert torch.equal(weights(tmp_path / "ours")["embeddings.position_embeddings.weight"], table[2:])
    assert not {name for name in weights(tmp_path / "ours") if "pooler" in name}
    assert electra_plus.ElectraPlusConfig.from_pretrained(tmp_path / "ours").max_position_embeddings == 38


@pytest.mark.parametrize(("model_type", "lacking"), [("bert", "pooler.dense.weight"), ("roberta", "rows 0 to 1")])
def test_without_what_was_kept_aside_it_is_told(model_type, lacking, tmp_path, caplog):
    saved(stock(model_type, "Model"), tmp_path / "stock")
    from_stock(tmp_path / "stock", tmp_path / "ours")
    (tmp_path / "ours" / "unconverted.safetensors").unlink()
    with pytest.raises(ValueError, match="would keep random weights.*--allow-unmatched") as caught:
        to_stock(tmp_path / "ours", tmp_path / "again", model_type=model_type)
    assert "\n" not in str(caught.value) and "pooler.dense" in str(caught.value)
    assert not (tmp_path / "again").exists()
    plan = str(plan_to_stock(tmp_path / "ours", model_type=model_type))
    assert lacking in plan and "NO SOURCE" in plan

    caplog.clear()
    to_stock(tmp_path / "ours", tmp_path / "again", model_type=model_type, allow_unmatched=True)
    assert "Allowed: " in caplog.text and "pooler.dense" in caplog.text
    model_class = getattr(transformers, f"{PREFIXES[model_type]}Model")
    before, again = (model_class.from_pretrained(tmp_path / name) for name in ("stock", "again"))
    inputs = batch("ElectraPlusModel", model_type)
    kept = inputs["attention_mask"] == 1
    torch.testing.assert_close(again(**inputs)[0][kept], before(**inputs)[0][kept], rtol=0, atol=0)
    assert all(parameter.isfinite().all() for parameter in again.parameters())


def test_model_of_our_own_becomes_either(tmp_path):
    ours = perturbed(make_model("ElectraPlusForMaskedLM", "classic", local_attention=128, pad_token_id=1))
    saved(ours, tmp_path / "ours")
    inputs = batch("ElectraPlusForMaskedLM", "roberta")
    kept = inputs["attention_mask"] == 1
    for family, name in (("bert", "BertForMaskedLM"), ("roberta", "RobertaForMaskedLM")):
        allowed = {"allow_unmatched": family == "roberta"}  # two rows of positions that no token has
        to_stock(tmp_path / "ours", tmp_path / family, model_type=family, **allowed)
        theirs = getattr(transformers, name).from_pretrained(tmp_path / family).eval()
        torch.testing.assert_close(theirs(**inputs).logits[kept], ours(**inputs).logits[kept], rtol=1e-5, atol=1e-5)


def test_tokenizer_that_cannot_be_opened_is_copied_and_said(tmp_path, caplog):
    saved(stock("roberta", "ForMaskedLM"), tmp_path / "stock")
    (tmp_path / "stock" / "vocab.json").write_text("no json")
    (tmp_path / "stock" / "merges.txt").write_text("")
    from_stock(tmp_path / "stock", tmp_path / "ours")
    assert (tmp_path / "ours" / "vocab.json").read_text() == "no json"
    assert "do not say of which class they are" in caplog.text


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_file_that_holds_more_than_its_class_does_so_again(model_type, tmp_path):
    """As the released bert-base-uncased and roberta-base: config.json says masked LM, the file has a pooler as well."""
    saved(stock(model_type, "ForMaskedLM"), tmp_path / "stock")
    more = {f"{model_type}.pooler.dense.weight": torch.rand(32, 32), f"{model_type}.pooler.dense.bias": torch.rand(32)}
    if model_type == "bert":
        more |= {"cls.seq_relationship.weight": torch.rand(2, 32), "cls.seq_relationship.bias": torch.rand(2)}
    save_file(weights(tmp_path / "stock") | more, tmp_path / "stock" / "model.safetensors", {"format": "pt"})
    from_stock(tmp_path / "stock", tmp_path / "ours")
    plan = plan_to_stock(tmp_path / "ours", model_type=model_type)
    assert not plan.unmatched and not plan.missing
    to_stock(tmp_path / "ours", tmp_path / "again", model_type=model_type)
    assert_bit_equal(weights(tmp_path / "again"), weights(tmp_path / "stock"))
    assert config_of(tmp_path / "again") == config_of(tmp_path / "stock")


def test_tensors_aside_of_another_shape_are_refused(tmp_path):
    saved(stock("roberta", "Model"), tmp_path / "stock")
    from_stock(tmp_path / "stock", tmp_path / "ours")
    aside = load_file(tmp_path / "ours" / "unconverted.safetensors")
    metadata = {"model_type": "roberta", "architecture": "RobertaModel"}
    for name, tensor, message in (
        ("pooler.dense.weight", torch.ones(3, 3), r"pooler.dense.weight has shape \(3, 3\), needed is \(32, 32\)"),
        ("embeddings.position_embeddings.weight", torch.ones(2, 5), "nothing is there for embeddings.position"),
    ):
        save_file({**aside, name: tensor}, tmp_path / "ours" / "unconverted.safetensors", metadata)
        with pytest.raises(ValueError, match=message):
            to_stock(tmp_path / "ours", tmp_path / "again", model_type="roberta")


def test_what_one_family_kept_is_nothing_to_another(tmp_path):
    saved(stock("bert", "Model", pad_token_id=1), tmp_path / "stock")
    from_stock(tmp_path / "stock", tmp_path / "ours")
    assert set(plan_to_stock(tmp_path / "ours", model_type="roberta").missing) == {
        "embeddings.position_embeddings.weight", "pooler.dense.weight", "pooler.dense.bias",
    }  # fmt: skip


def test_old_names_and_both_copies_of_a_tied_table_are_understood(tmp_path):
    """As files of 2018: gamma and beta, the vocabulary's table and bias twice, positions as a buffer."""
    saved(stock("bert", "ForMaskedLM"), tmp_path / "stock")
    tensors = weights(tmp_path / "stock")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    old["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(40)[None]
    (tmp_path / "stock" / "model.safetensors").unlink()
    torch.save(old, tmp_path / "stock" / "pytorch_model.bin")
    plan = plan_from_stock(tmp_path / "stock")
    assert not plan.unmatched and not plan.missing
    assert str(plan).count("the same as") == 2 and "a buffer that is made anew" in str(plan)
    from_stock(tmp_path / "stock", tmp_path / "ours")
    to_stock(tmp_path / "ours", tmp_path / "again", model_type="bert")
    assert_bit_equal(weights(tmp_path / "again"), tensors)


def test_tied_tables_that_differ_are_untied(tmp_path, caplog):
    saved(stock("roberta", "ForMaskedLM"), tmp_path / "stock")
    tensors = weights(tmp_path / "stock")
    table = tensors["roberta.embeddings.word_embeddings.weight"] + 1
    save_file({**tensors, "lm_head.decoder.weight": table}, tmp_path / "stock" / "model.safetensors", {"format": "pt"})
    from_stock(tmp_path / "stock", tmp_path / "ours")
    assert "`tie_word_embeddings` becomes False" in caplog.text
    ours = electra_plus.ElectraPlusForMaskedLM.from_pretrained(tmp_path / "ours")
    assert torch.equal(ours.generator_lm_head.weight, table)
    assert not torch.equal(ours.electra.embeddings.word_embeddings.weight, table)


@pytest.mark.parametrize("says_its_class", [True, False])
def test_tokenizer_stays_robertas_whether_its_files_say_so_or_not(says_its_class, tmp_path):
    vocab = {
        token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefgh", "Ġ", "ab", "Ġc"])
    }
    tokenizer = transformers.RobertaTokenizer(vocab=vocab, merges=[("a", "b"), ("Ġ", "c")])
    saved(stock("roberta", "ForMaskedLM"), tmp_path / "stock")
    tokenizer.save_pretrained(tmp_path / "stock")
    if not says_its_class:
        file = tmp_path / "stock" / "tokenizer_config.json"
        config = json.loads(file.read_text())
        del config["tokenizer_class"]
        file.write_text(json.dumps(config))
    expected = tokenizer("ab cd")["input_ids"]
    assert expected[0] == 0 and len(expected) == 5
    from_stock(tmp_path / "stock", tmp_path / "ours")
    to_stock(tmp_path / "ours", tmp_path / "again", model_type="roberta")
    for folder in ("stock", "ours", "again"):
        assert transformers.AutoTokenizer.from_pretrained(tmp_path / folder)("ab cd")["input_ids"] == expected, folder


def test_second_copy_of_a_bias_that_differs_is_named(tmp_path):
    saved(stock("bert", "ForMaskedLM"), tmp_path / "stock")
    tensors = weights(tmp_path / "stock")
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"] + 1
    save_file(tensors, tmp_path / "stock" / "model.safetensors", {"format": "pt"})
    plan = plan_from_stock(tmp_path / "stock")
    assert plan.unmatched == ["cls.predictions.decoder.bias"] and "differs from cls.predictions.bias" in str(plan)


# ---- refusals ----


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_detector_and_projection_have_no_equal(model_type, tmp_path, capsys):
    saved(make_model("ElectraPlusForReplacedTokenDetection", "classic", local_attention=128), tmp_path / "detector")
    saved(make_model("ElectraPlusModel", "classic", local_attention=128, embedding_size=16), tmp_path / "projected")
    for name, message in (("detector", "has no such class"), ("projected", "`embedding_size=16`")):
        arguments = ["convert", "--model", str(tmp_path / name), "--to", model_type, "--output", str(tmp_path / "out")]
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_activation_of_a_classifier_decides_what_it_becomes(tmp_path):
    for activation, stays, becomes in (("gelu", "bert", "electra"), ("tanh", "electra", "bert")):
        ours = make_model("ElectraPlusForSequenceClassification", "classic", classifier_activation=activation)
        saved(ours, tmp_path / activation)
        with pytest.raises(ValueError, match=f"`classifier_activation='{activation}'`"):
            to_stock(tmp_path / activation, tmp_path / "out", model_type=stays)
        to_stock(tmp_path / activation, tmp_path / f"{activation}-{becomes}", model_type=becomes)
        model_class = {"electra": "ElectraForSequenceClassification", "bert": "BertForSequenceClassification"}[becomes]
        stock_model = getattr(transformers, model_class).from_pretrained(tmp_path / f"{activation}-{becomes}").eval()
        inputs = batch("ElectraPlusForSequenceClassification", "bert")
        torch.testing.assert_close(stock_model(**inputs).logits, ours.eval()(**inputs).logits, rtol=1e-5, atol=1e-5)


def test_state_dict_of_a_bert_classifier(tmp_path):
    before = stock("bert", "ForSequenceClassification", hidden_size=64, num_attention_heads=1, layer_norm_eps=1e-12)
    torch.save(before.state_dict(), tmp_path / "trained.pt")
    assert from_stock(tmp_path / "trained.pt", tmp_path / "ours") == {
        tmp_path / "ours": "ElectraPlusForSequenceClassification"
    }
    ours = electra_plus.ElectraPlusForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    inputs = batch("ElectraPlusForSequenceClassification", "bert")
    torch.testing.assert_close(ours(**inputs).logits, before(**inputs).logits, rtol=1e-5, atol=1e-5)


def test_a_tensor_without_place_is_named_and_refused(tmp_path, caplog, capsys):
    saved(stock("bert", "ForMaskedLM"), tmp_path / "stock")
    file = tmp_path / "stock" / "model.safetensors"
    save_file({**load_file(file), "adapter.weight": torch.ones(3)}, file, {"format": "pt"})
    with pytest.raises(ValueError, match="no place is known for adapter.weight") as caught:
        from_stock(tmp_path / "stock", tmp_path / "ours")
    assert "\n" not in str(caught.value) and "--allow-unmatched" in str(caught.value)
    assert plan_from_stock(tmp_path / "stock").unmatched == ["adapter.weight"]
    assert main(["convert", "--model", str(tmp_path / "stock"), "--to", "electra-plus", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "NO PLACE" in printed and printed.splitlines()[-1].startswith("would be refused: ")
    from_stock(tmp_path / "stock", tmp_path / "ours", allow_unmatched=True)
    assert "Allowed: no place is known for adapter.weight" in caplog.text
    assert "adapter.weight" not in weights(tmp_path / "ours")


def test_a_parameter_that_would_stay_random_is_named_and_drawn_only_when_allowed(tmp_path):
    saved(stock("bert", "ForTokenClassification"), tmp_path / "stock")
    file = tmp_path / "stock" / "model.safetensors"
    save_file({n: t for n, t in load_file(file).items() if not n.startswith("classifier.")}, file, {"format": "pt"})
    with pytest.raises(ValueError, match="ElectraPlusForTokenClassification would keep random weights"):
        from_stock(tmp_path / "stock", tmp_path / "ours")
    assert plan_from_stock(tmp_path / "stock").missing == ["classifier.weight", "classifier.bias"]
    from_stock(tmp_path / "stock", tmp_path / "ours", allow_unmatched=True)
    drawn = weights(tmp_path / "ours")
    assert drawn["classifier.weight"].shape == (2, 32) and 0 < drawn["classifier.weight"].std() < 0.1
    assert torch.equal(drawn["classifier.bias"], torch.zeros(2))
    name = "encoder.layer.1.output.dense.weight"
    assert torch.equal(drawn[f"electra.{name}"], load_file(file)[f"bert.{name}"])
