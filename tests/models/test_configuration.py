"""The configuration: presets, flavours, the checks between fields, files, and stock configurations."""

import copy

import pytest
import torch
import transformers
from huggingface_hub.errors import StrictDataclassFieldValidationError
from model_helpers import joint_config, small_config

from electra_plus import ElectraPlusConfig, ElectraPlusModel

# ---- presets ----

# embedding_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size; below it the generator's.
# Classic: ELECTRA paper, table 6, and `get_bert_config` of the released code (heads of 64 channels, MLP of 4 widths).
PRESET_SIZES = {
    "tiny": ((128, 128, 3, 2, 512),
             (128, 64, 3, 1, 256)),
    "small": ((128, 256, 12, 4, 1024),
              (128, 64, 12, 1, 256)),
    "base": ((768, 768, 12, 12, 3072),
             (768, 256, 12, 4, 1024)),
    "large": ((1024, 1024, 24, 16, 4096),
              (1024, 256, 24, 4, 1024)),
    "modern-tiny": ((128, 128, 3, 2, 320),
                    (128, 128, 1, 2, 320)),
    "modern-small": ((256, 256, 12, 4, 704),
                     (256, 256, 6, 4, 704)),
    "modern-base": ((768, 768, 12, 12, 2048),
                    (768, 768, 6, 12, 2048)),
}  # fmt: skip


def sizes_of(config: ElectraPlusConfig) -> tuple[int, ...]:
    return (config.embedding_size, config.hidden_size, config.num_hidden_layers, config.num_attention_heads,
            config.intermediate_size)  # fmt: skip


@pytest.mark.parametrize("name", PRESET_SIZES)
def test_preset_has_its_sizes_and_a_matching_generator(name):
    config = ElectraPlusConfig.preset(name)
    assert (sizes_of(config), sizes_of(config.generator_config)) == PRESET_SIZES[name]
    assert config.flavour == config.generator_config.flavour == ("modern" if name.startswith("modern") else "classic")
    assert config.embedding_sharing == "all"


@pytest.mark.parametrize("name", ["small", "base", "large"])
def test_classic_presets_have_the_released_hyper_parameters(name):
    config = ElectraPlusConfig.preset(name)
    for network in (config, config.generator_config):
        assert (network.hidden_dropout_prob, network.attention_probs_dropout_prob) == (0.1, 0.1)
        assert (network.vocab_size, network.type_vocab_size, network.max_position_embeddings) == (30522, 2, 512)
        assert (network.initializer_range, network.hidden_act, network.layer_norm_eps) == (0.02, "gelu", 1e-12)
    assert (config.generator_loss_weight, config.discriminator_loss_weight) == (1, 50)
    assert config.generator_temperature == 1 and not config.disallow_correct


# ELECTRA paper, tables 1 and 2
@pytest.mark.parametrize(("name", "millions"), [("small", 14), ("base", 110), ("large", 335)])
def test_classic_presets_have_as_many_parameters_as_the_paper_says(name, millions):
    with torch.device("meta"):
        model = ElectraPlusModel(ElectraPlusConfig.preset(name))
    # the paper's rounded numbers; its 14 stands for 13.5
    assert model.num_parameters() / 1e6 == pytest.approx(millions, rel=0.04)


def test_preset_overrides_reach_the_generator_where_both_must_agree():
    shared = {
        "vocab_size": 500,
        "embedding_size": 96,
        "max_position_embeddings": 64,
        "type_vocab_size": 3,
        "pad_token_id": 7,
    }
    config = ElectraPlusConfig.preset("tiny", hidden_size=160, generator_temperature=0.5, **shared)
    for field, value in shared.items():
        assert getattr(config, field) == getattr(config.generator_config, field) == value
    assert (config.hidden_size, config.generator_config.hidden_size) == (160, 64)
    assert (config.generator_temperature, config.generator_config.generator_temperature) == (0.5, 1.0)


def test_preset_takes_a_generator_of_the_users_own():
    assert ElectraPlusConfig.preset("tiny", generator_config=None).generator_config is None
    bert = transformers.BertConfig(hidden_size=128, num_attention_heads=2)
    assert ElectraPlusConfig.preset("tiny", generator_config=bert).generator_config is bert


def test_unknown_preset_and_unknown_override_are_refused():
    with pytest.raises(ValueError, match=r"`name` must be one of \['tiny', 'small', .*got 'huge'"):
        ElectraPlusConfig.preset("huge")
    with pytest.raises(TypeError, match=r"no field \['hiden_size'\]"):
        ElectraPlusConfig.preset("tiny", hiden_size=64)


# ---- flavours ----

# field: what classic fills in, what modern fills in, a value that neither does
FILLED_BY_FLAVOUR = {
    "norm_position": ("post", "pre", None),
    "norm_type": ("layernorm", "layernorm", "rmsnorm"),
    "position_embedding": ("absolute", "rotary", None),
    "mlp_type": ("standard", "gated", None),
    "use_bias": (True, False, None),
    "depth_scaled_init": (False, True, None),
    "global_attn_every_n_layers": (1, 3, 2),
    "hidden_dropout_prob": (0.1, 0.0, 0.3),
    "attention_probs_dropout_prob": (0.1, 0.0, 0.3),
    "max_position_embeddings": (512, 8192, 77),
    "layer_norm_eps": (1e-12, 1e-5, 1e-3),
    "classifier_pooling": ("cls", "mean", None),
    "intermediate_size": (1024, 704, 333),
    "initializer_range": (0.02, (2 / (5 * 256)) ** 0.5, 0.5),
}


@pytest.mark.parametrize("field", FILLED_BY_FLAVOUR)
def test_flavour_fills_a_field_only_if_it_is_not_given(field):
    classic, modern, other = FILLED_BY_FLAVOUR[field]
    assert getattr(ElectraPlusConfig(), field) == classic
    assert getattr(ElectraPlusConfig(flavour="modern"), field) == pytest.approx(modern)
    for flavour, given in (("classic", other or modern), ("modern", other or classic)):
        assert getattr(ElectraPlusConfig(flavour=flavour, **{field: given}), field) == given


def test_layer_types_follow_the_interval_unless_given():
    config = ElectraPlusConfig(flavour="modern", num_hidden_layers=5)
    full, local = "full_attention", "sliding_attention"
    assert config.layer_types == [full, local, local, full, local]
    assert config.sliding_window == config.local_attention // 2 == 64
    assert ElectraPlusConfig(num_hidden_layers=2).layer_types == [full, full]
    assert ElectraPlusConfig(num_hidden_layers=2).sliding_window is None
    assert ElectraPlusConfig(num_hidden_layers=2, layer_types=[local, full]).layer_types == [local, full]


def test_gated_mlp_has_as_many_weights_as_the_standard_one():
    sizes = {"hidden_size": 768, "num_attention_heads": 12}
    gated, standard = ElectraPlusConfig(mlp_type="gated", **sizes), ElectraPlusConfig(mlp_type="standard", **sizes)
    assert 3 * gated.intermediate_size == 2 * standard.intermediate_size


# ---- checks ----

REFUSED = [
    ({"hidden_size": 250}, r"`hidden_size` \(250\) must be divisible by `num_attention_heads` \(4\). Choose 248 or 252"),
    ({"hidden_size": 2}, r"`hidden_size` \(2\) must be divisible.*Choose 4\."),
    ({"position_embedding": "rotary", "hidden_size": 12}, r"rotary.*\(3\) must be even. Change `num_attention_heads`"),
    ({"add_cross_attention": True}, "`add_cross_attention=True` needs a decoder. Set `is_decoder=True`"),
    ({"pad_token_id": 99}, r"`pad_token_id` \(99\) must be in \[0, vocab_size=99\).*Take it.*from the tokenizer"),
    ({"pad_token_id": -1}, r"`pad_token_id` \(-1\).*or set `pad_token_id=None`"),
    ({"layer_types": ["full_attention"] * 3}, "`layer_types` must hold.*each of the 12 layers.*Leave it at `None`"),
    ({"layer_types": ["global"] * 12}, r"`layer_types` must hold one of \['full_attention', 'sliding_attention'\]"),
    ({"flavour": "modern", "local_attention": 7}, "`local_attention` must be even and at least 2 tokens, got 7"),
    ({"flavour": "modern", "local_attention": 0}, "`local_attention` must be even and at least 2 tokens, got 0"),
    ({"generator_loss_weight": -1.0}, "`generator_loss_weight` must not be negative.*Use 0 to switch a loss off"),
    ({"discriminator_loss_weight": -1.0}, "`discriminator_loss_weight` must not be negative.*Use 0 to switch"),
    *[
        ({field: 0}, f"`{field}` must be at least 1, got 0")
        for field in ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                      "intermediate_size", "max_position_embeddings", "type_vocab_size", "global_attn_every_n_layers")
    ],
    *[
        ({field: rate}, rf"`{field}` must be in \[0, 1\), got {rate}")
        for field in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "summary_last_dropout")
        for rate in (-0.1, 1.0)
    ],
    *[
        ({field: 0.0}, f"`{field}` must be > 0, got 0.0")
        for field in ("generator_temperature", "global_rope_theta", "local_rope_theta", "layer_norm_eps", "initializer_range")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=[" ".join(map(str, fields)) for fields, _ in REFUSED])
def test_impossible_fields_are_refused_with_the_cure(fields, message):
    with pytest.raises(ValueError, match=message):
        ElectraPlusConfig(**{"vocab_size": 99, **fields})


GENERATORS_REFUSED = [
    ({}, {"vocab_size": 50}, r"`generator_config.vocab_size` \(50\) must equal `vocab_size` \(99\).*one tokenizer"),
    ({}, {"embedding_size": 16}, "needs tables of one width.*32 and 16.*or set `embedding_sharing='none'`"),
    ({"embedding_sharing": "word"}, {"embedding_size": 16}, "`embedding_sharing='word'` needs tables of one width"),
    ({"tie_word_embeddings": False}, {}, "needs `tie_word_embeddings=True`.*Set `embedding_sharing='none'`"),
    *[
        ({}, {field: value}, f"`embedding_sharing='all'` needs the same `{field}`.*use `embedding_sharing='word'`")
        for field, value in (("max_position_embeddings", 64), ("type_vocab_size", 1), ("position_embedding", "rotary"),
                             ("norm_type", "rmsnorm"), ("use_bias", False))
    ],
]  # fmt: skip


@pytest.mark.parametrize(("fields", "generator", "message"), GENERATORS_REFUSED)
def test_generator_that_does_not_fit_is_refused_with_the_cure(fields, generator, message):
    with pytest.raises(ValueError, match=message):
        joint_config(generator=generator, **fields)


def test_the_cures_for_unequal_generators_work():
    assert (
        joint_config(generator={"embedding_size": 16}, embedding_sharing="none").generator_config.embedding_size == 16
    )
    assert not joint_config(generator={"use_bias": False}, embedding_sharing="word").generator_config.use_bias
    assert not joint_config(tie_word_embeddings=False, embedding_sharing="none").tie_word_embeddings


@pytest.mark.parametrize(
    "fields", [{"flavour": "new"}, {"vocab_size": "99"}, {"norm_position": "both"}, {"embedding_sharing": "some"}]
)
def test_value_of_a_wrong_type_is_refused_by_name(fields):
    [(field, value)] = fields.items()
    with pytest.raises(StrictDataclassFieldValidationError, match=f"'{field}'.*\n.*{value}"):
        ElectraPlusConfig(**fields)
    config = ElectraPlusConfig()
    with pytest.raises(StrictDataclassFieldValidationError, match=f"'{field}'"):
        setattr(config, field, value)


# ---- files and stock configurations ----

BERT = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
SAVED = {
    "classic": small_config(),
    "modern": small_config("modern", local_attention=16, num_labels=3, problem_type="single_label_classification"),
    "decoder": small_config(is_decoder=True, add_cross_attention=True, eos_token_id=[3, 4], bos_token_id=2),
    "labels": small_config(id2label={0: "bad", 1: "fair", 2: "good"}, pad_token_id=None, classifier_dropout=0),
    "joint": joint_config("modern", generator={"hidden_size": 64}, generator_temperature=2, disallow_correct=True),
    "joint with bert": small_config(generator_config=transformers.BertConfig(**BERT), embedding_sharing="word"),
    "preset": ElectraPlusConfig.preset("modern-base"),
}


@pytest.mark.parametrize("name", SAVED)
def test_configuration_is_equal_after_saving_and_loading(name, tmp_path):
    config = SAVED[name]
    config.save_pretrained(tmp_path)
    for loaded in (ElectraPlusConfig.from_pretrained(tmp_path), transformers.AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is ElectraPlusConfig
        assert type(loaded.generator_config) is type(config.generator_config)
        loaded.name_or_path = ""  # only says where it came from
        assert loaded.to_dict() == config.to_dict()
    assert copy.deepcopy(config).to_dict() == config.to_dict()


@pytest.mark.parametrize("given_as", ["dict", "configuration", "dict assigned later"])
@pytest.mark.parametrize("model_type", ["electra_plus", "bert"])
def test_generator_config_may_be_a_dict_or_a_configuration(model_type, given_as, tmp_path):
    config_class = {"electra_plus": ElectraPlusConfig, "bert": transformers.BertConfig}[model_type]
    fields = {**BERT, "embedding_size": 32} if model_type == "electra_plus" else BERT
    generator = config_class(**fields) if given_as == "configuration" else {"model_type": model_type, **fields}
    if given_as == "dict assigned later":
        config = small_config(embedding_sharing="word")
        config.generator_config = generator
    else:
        config = small_config(generator_config=generator, embedding_sharing="word")
    config.save_pretrained(tmp_path)
    for checked in (config, ElectraPlusConfig.from_pretrained(tmp_path)):
        assert type(checked.generator_config) is config_class
        assert (checked.generator_config.hidden_size, checked.generator_config.num_hidden_layers) == (32, 1)


def test_dict_without_a_model_type_is_a_generator_of_our_own():
    generator = small_config(
        generator_config={"vocab_size": 99, "hidden_size": 48}, embedding_sharing="none"
    ).generator_config
    assert isinstance(generator, ElectraPlusConfig) and generator.hidden_size == 48


@pytest.mark.parametrize("as_dict", [False, True])
def test_stock_electra_configuration_is_translated(as_dict):
    sizes = {
        "vocab_size": 99,
        "embedding_size": 16,
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    rates = {"hidden_dropout_prob": 0.2, "classifier_dropout": 0.3, "layer_norm_eps": 1e-6, "initializer_range": 0.1}
    stock = transformers.ElectraConfig(**sizes, **rates, intermediate_size=200, id2label={0: "a", 1: "b", 2: "c"})
    config = ElectraPlusConfig.from_stock(stock.to_dict() if as_dict else stock, generator_temperature=0.5)
    assert config.model_type == "electra_plus" and config.flavour == "classic"
    for field, value in {**sizes, **rates, "intermediate_size": 200, "num_labels": 3}.items():
        assert getattr(config, field) == value, field
    assert config.generator_temperature == 0.5
    assert stock.model_type == "electra"  # the original is left as it was


def test_stock_defaults_are_filled_in_and_folders_are_translated(tmp_path):
    for stock in (transformers.ElectraConfig(), transformers.BertConfig()):
        expected = ElectraPlusConfig.from_stock({"model_type": stock.model_type})
        assert ElectraPlusConfig.from_stock(stock).to_dict() == expected.to_dict()
        stock.save_pretrained(tmp_path / stock.model_type)
        loaded = ElectraPlusConfig.from_pretrained(tmp_path / stock.model_type, num_labels=5)
        assert loaded.model_type == "electra_plus" and loaded.num_labels == 5
        assert sizes_of(loaded) == sizes_of(expected)
    assert sizes_of(expected) == (768, 768, 12, 12, 3072)


@pytest.mark.parametrize(
    ("stock", "message"),
    [
        (transformers.GPT2Config(), r"`stock` must have model type \['bert', 'electra'\], got 'gpt2'"),
        ({"hidden_size": 32}, "`stock` must have model type.*got None"),
        (
            {"model_type": "electra", "position_embedding_type": "relative_key"},
            "must be 'absolute', got 'relative_key'",
        ),
    ],
)
def test_other_stock_configurations_are_refused(stock, message):
    with pytest.raises(ValueError, match=message):
        ElectraPlusConfig.from_stock(stock)
