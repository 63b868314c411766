"""Configuration of ElectraPlus: one set of fields for both flavours, presets, and the checks between fields."""

import copy
import math
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

# Fields that `flavour` fills when the user leaves them at `None`. Layers read the fields and never the flavour.
FLAVOUR_DEFAULTS: dict[str, dict[str, Any]] = {
    "classic": {
        "norm_position": "post",
        "norm_type": "layernorm",
        "position_embedding": "absolute",
        "mlp_type": "standard",
        "use_bias": True,
        "depth_scaled_init": False,
        "global_attn_every_n_layers": 1,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "layer_norm_eps": 1e-12,
        "classifier_pooling": "cls",
    },
    "modern": {
        "norm_position": "pre",
        "norm_type": "layernorm",
        "position_embedding": "rotary",
        "mlp_type": "gated",
        "use_bias": False,
        "depth_scaled_init": True,
        "global_attn_every_n_layers": 3,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 8192,
        "layer_norm_eps": 1e-5,
        "classifier_pooling": "mean",
    },
}

# Discriminator sizes, and how its generator differs. Classic: ELECTRA paper, table 6 (generator narrower, as deep), and
# the released `configure_pretraining.py`. Modern: as wide and half as deep (COCO-LM, DeBERTaV3).
PRESETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tiny": (
        {"embedding_size": 128, "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2},
        {"hidden_size": 64, "num_attention_heads": 1},
    ),
    "small": (
        {"embedding_size": 128, "hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4},
        {"hidden_size": 64, "num_attention_heads": 1},
    ),
    "base": (
        {"embedding_size": 768, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        {"hidden_size": 256, "num_attention_heads": 4},
    ),
    "large": (
        {"embedding_size": 1024, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
        {"hidden_size": 256, "num_attention_heads": 4},
    ),
    "modern-tiny": (
        {"embedding_size": 128, "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2},
        {"num_hidden_layers": 1},
    ),
    "modern-small": (
        {"embedding_size": 256, "hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4},
        {"num_hidden_layers": 6},
    ),
    "modern-base": (
        {"embedding_size": 768, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        {"num_hidden_layers": 6},
    ),
}

# What a generator of our own type takes over from its discriminator: the same tokens in the same embeddings.
SHARED_FIELDS = (
    "flavour",
    "vocab_size",
    "embedding_size",
    "max_position_embeddings",
    "type_vocab_size",
    "pad_token_id",
    "norm_type",
    "norm_position",
    "position_embedding",
    "mlp_type",
    "use_bias",
    "depth_scaled_init",
    "layer_norm_eps",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "global_rope_theta",
    "local_rope_theta",
    "local_attention",
    "global_attn_every_n_layers",
)

# What `objective_weights` may name: the heads in `further_objectives_electra_plus.py`, which imports this file.
OBJECTIVE_NAMES = ("multi_word_choice", "corrective_lm", "sequence_contrast")

STOCK_MODEL_TYPES = ("electra", "bert")


@strict
class ElectraPlusConfig(PreTrainedConfig):
    r"""
    Configuration of every ElectraPlus model: encoder, task heads, generator, and the joint pretraining model.

    A field left at `None` takes the value of `flavour`; `"classic"` is the released ELECTRA, `"modern"` a pre-norm encoder
    with rotary positions, gated MLP and alternating local and global attention. The top level always describes the
    discriminator, `generator_config` the generator.

    Args:
        flavour (`str`, *optional*, defaults to `"classic"`):
            `"classic"` or `"modern"`. Only fills the fields below that are `None`.
        vocab_size (`int`, *optional*, defaults to 30522): Tokens in the vocabulary.
        embedding_size (`int`, *optional*, defaults to 128):
            Width of the embedding tables. A linear projection follows when it differs from `hidden_size`.
        hidden_size (`int`, *optional*, defaults to 256): Width of the encoder.
        num_hidden_layers (`int`, *optional*, defaults to 12): Number of layers, at least 1.
        num_attention_heads (`int`, *optional*, defaults to 4): Must divide `hidden_size`.
        intermediate_size (`int`, *optional*):
            Inner width of the MLP. `None` is `4 * hidden_size`, or about `8/3 * hidden_size` (a multiple of 64) for a
            gated MLP, which then has as many weights.
        hidden_act (`str`, *optional*, defaults to `"gelu"`): Activation of the MLP (exact erf GELU).
        norm_position (`str`, *optional*): `"post"` (after the residual sum) or `"pre"` (before the block, with a final norm).
        norm_type (`str`, *optional*): `"layernorm"` or `"rmsnorm"`.
        position_embedding (`str`, *optional*): `"absolute"` (learned table) or `"rotary"`.
        mlp_type (`str`, *optional*): `"standard"` or `"gated"` (GeGLU when `hidden_act` is `"gelu"`).
        use_bias (`bool`, *optional*): Biases in the encoder's linear layers and norms. Heads always have them.
        depth_scaled_init (`bool`, *optional*):
            Divide the initial standard deviation of the residual projections by `sqrt(2 * num_hidden_layers)`.
        global_attn_every_n_layers (`int`, *optional*):
            Layer `i` attends to all tokens if `i % n == 0`, else to a window. 1 makes every layer global.
        local_attention (`int`, *optional*, defaults to 128):
            Width of that window in tokens, even: half of it to each side. With `is_decoder` half of it in all, the token
            itself and those to its left.
        layer_types (`list[str]`, *optional*):
            `"full_attention"` or `"sliding_attention"` for each layer. `None` derives it from the two fields above.
        global_rope_theta, local_rope_theta (`float`, *optional*, defaults to 160000.0 and 10000.0):
            Base of the rotary frequencies in global and in local layers.
        hidden_dropout_prob, attention_probs_dropout_prob (`float`, *optional*): Dropout rates in [0, 1).
        classifier_dropout (`float`, *optional*): Dropout rate of the task heads. `None` uses `hidden_dropout_prob`.
        classifier_pooling (`str`, *optional*): `"cls"` or `"mean"` (over attended tokens), for sequence classification.
        classifier_activation (`str`, *optional*, defaults to `"gelu"`):
            `"gelu"` or `"tanh"` (what BERT's and RoBERTa's heads have), for sequence classification.
        max_position_embeddings (`int`, *optional*): Longest row, in tokens.
        type_vocab_size (`int`, *optional*, defaults to 2): Number of segment ids.
        initializer_range (`float`, *optional*):
            Standard deviation of new weights. `None` is 0.02 for classic, `sqrt(2 / (5 * hidden_size))` for modern.
        layer_norm_eps (`float`, *optional*): Epsilon of the norms.
        chunk_length, num_chunk_layers, chunks_at_once (`int`, *optional*, defaults to 128, 1 and 16):
            Of [`ElectraPlusForLongSequenceClassification`]: tokens in a chunk, layers of the encoder over chunk vectors (0:
            chunks are weighed alone), and chunks that training keeps in memory at a time.
        sparse_prediction (`bool`, *optional*, defaults to `False`):
            With labels, a masked LM scores the labelled slots only: much cheaper, `logits` are `(num_masked, vocab_size)`.
        generator_config (`dict` or [`PreTrainedConfig`], *optional*):
            Whole configuration of the generator, of any model type that `AutoModelForMaskedLM` knows.
        embedding_sharing (`str`, *optional*, defaults to `"all"`):
            What generator and discriminator share: `"all"` (word, position and type tables and their norm, as released),
            `"word"` (word table only), `"gdes"` (word and position tables, but the discriminator trains only a difference of
            its own to the generator's: DeBERTaV3, section 3.2.2) or `"none"`.
        generator_loss_weight, discriminator_loss_weight (`float`, *optional*, defaults to 1.0 and 50.0):
            Multipliers of the two losses in their sum (ELECTRA paper, section 2 and table 6).
        objective_weights (`dict[str, float]`, *optional*):
            Further objectives of the discriminator and the multipliers of their losses in that sum: `"multi_word_choice"`
            (TEAMS), `"corrective_lm"` and `"sequence_contrast"` (COCO-LM). Each named one has a head in the joint model; with
            weight 0 it is kept but not computed (training on several processes then needs
            `ddp_find_unused_parameters=True`). Released code has 2 for the first, beside a `discriminator_loss_weight` of 5,
            and 1 for the others, beside 50. `None` names none.
        generator_temperature (`float`, *optional*, defaults to 1.0): Divisor of the generator's logits when sampling, > 0.
        disallow_correct (`bool`, *optional*, defaults to `False`): Never let the generator draw the original token.

    Raises:
        ValueError: Two fields contradict each other. The message names both and the cure.

    Example:

    ```python
    >>> from electra_plus import ElectraPlusConfig
    >>> config = ElectraPlusConfig.preset("small", vocab_size=8192)
    >>> config.hidden_size, config.generator_config.hidden_size, config.generator_config.vocab_size
    (256, 64, 8192)

    ```
    """

    model_type = "electra_plus"
    sub_configs: ClassVar = {"generator_config": AutoConfig}
    keys_to_ignore_at_inference: ClassVar = ["past_key_values"]

    flavour: Literal["classic", "modern"] = "classic"
    vocab_size: int = 30522
    embedding_size: int = 128
    hidden_size: int = 256
    num_hidden_layers: int = 12
    num_attention_heads: int = 4
    intermediate_size: int | None = None
    hidden_act: str = "gelu"
    norm_position: Literal["post", "pre"] | None = None
    norm_type: Literal["layernorm", "rmsnorm"] | None = None
    position_embedding: Literal["absolute", "rotary"] | None = None
    mlp_type: Literal["standard", "gated"] | None = None
    use_bias: bool | None = None
    depth_scaled_init: bool | None = None
    global_attn_every_n_layers: int | None = None
    local_attention: int = 128
    layer_types: list[str] | None = None
    global_rope_theta: float | int = 160_000.0
    local_rope_theta: float | int = 10_000.0
    hidden_dropout_prob: float | int | None = None
    attention_probs_dropout_prob: float | int | None = None
    classifier_dropout: float | int | None = None
    classifier_pooling: Literal["cls", "mean"] | None = None
    classifier_activation: Literal["gelu", "tanh"] = "gelu"
    max_position_embeddings: int | None = None
    type_vocab_size: int = 2
    initializer_range: float | None = None
    layer_norm_eps: float | None = None
    summary_type: Literal["first", "last", "mean"] = "first"
    summary_use_proj: bool = True
    summary_activation: str | None = "gelu"
    summary_last_dropout: float | int = 0.1
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    use_cache: bool = True
    is_decoder: bool = False
    add_cross_attention: bool = False
    tie_word_embeddings: bool = True
    chunk_length: int = 128
    num_chunk_layers: int = 1
    chunks_at_once: int = 16
    sparse_prediction: bool = False
    generator_config: dict | PreTrainedConfig | None = None
    embedding_sharing: Literal["all", "word", "gdes", "none"] = "all"
    generator_loss_weight: float | int = 1.0
    discriminator_loss_weight: float | int = 50.0
    objective_weights: dict[str, float | int] | None = None
    generator_temperature: float | int = 1.0
    disallow_correct: bool = False

    def __post_init__(self, **kwargs):
        for field, value in FLAVOUR_DEFAULTS[self.flavour].items():
            if getattr(self, field) is None:
                setattr(self, field, value)
        if self.initializer_range is None:
            self.initializer_range = 0.02 if self.flavour == "classic" else math.sqrt(0.4 / max(self.hidden_size, 1))
        if self.intermediate_size is None:
            gated = self.mlp_type == "gated"
            self.intermediate_size = max(64, round(self.hidden_size / 24) * 64) if gated else 4 * self.hidden_size
        if self.layer_types is None and self.global_attn_every_n_layers > 0:
            interval = self.global_attn_every_n_layers
            kinds = (
                "full_attention" if i % interval == 0 else "sliding_attention" for i in range(self.num_hidden_layers)
            )
            self.layer_types = list(kinds)
        if isinstance(self.generator_config, dict):
            self.generator_config = _config_from_dict(self.generator_config)
        super().__post_init__(**kwargs)
        # where an Auto class serves several models, transformers walks this list without asking whether there is one
        self.architectures = self.architectures or []
        # `@strict` would run these too, but wraps what they raise; called here a user sees the plain one-line ValueError.
        self.validate_architecture()
        self.validate_ranges()
        self.validate_layer_type()
        self.validate_generator()
        self.validate_objectives()

    @property
    def sliding_window(self) -> int | None:
        """Tokens a local layer sees to each side (when causal: in all, its own included), `None` if no layer is local."""
        return self.local_attention // 2 if "sliding_attention" in self.layer_types else None

    @sliding_window.setter
    def sliding_window(self, value: int):
        self.local_attention = 2 * value

    # ---- checks; `@strict` runs every method called validate_* after the fields are set ----

    def validate_architecture(self):
        """Refuse sizes that no encoder can be built from."""
        for field in ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                      "intermediate_size", "max_position_embeddings", "type_vocab_size",
                      "global_attn_every_n_layers", "chunk_length", "chunks_at_once"):  # fmt: skip
            if getattr(self, field) < 1:
                raise ValueError(f"`{field}` must be at least 1, got {getattr(self, field)}.")
        if self.hidden_size % self.num_attention_heads:
            step = self.num_attention_heads
            below, above = self.hidden_size // step * step, -(-self.hidden_size // step) * step
            choice = f"{below} or {above}" if below else f"{above}"
            raise ValueError(
                f"`hidden_size` ({self.hidden_size}) must be divisible by `num_attention_heads` ({step}). Choose {choice}."
            )
        head_size = self.hidden_size // self.num_attention_heads
        if self.position_embedding == "rotary" and head_size % 2:
            raise ValueError(
                f"`position_embedding='rotary'` rotates pairs, so `hidden_size / num_attention_heads` ({head_size}) must be "
                f"even. Change `num_attention_heads` or use `position_embedding='absolute'`."
            )
        if self.add_cross_attention and not self.is_decoder:
            raise ValueError("`add_cross_attention=True` needs a decoder. Set `is_decoder=True` as well.")

    def validate_ranges(self):
        """Refuse rates, weights and special token ids outside their range."""
        for field in (
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "classifier_dropout",
            "summary_last_dropout",
        ):
            rate = getattr(self, field)
            if rate is not None and not 0 <= rate < 1:
                raise ValueError(f"`{field}` must be in [0, 1), got {rate}.")
        if self.num_chunk_layers < 0:
            raise ValueError(f"`num_chunk_layers` must not be negative, got {self.num_chunk_layers}. Use 0 for none.")
        for field in ("generator_loss_weight", "discriminator_loss_weight"):
            if getattr(self, field) < 0:
                raise ValueError(
                    f"`{field}` must not be negative, got {getattr(self, field)}. Use 0 to switch a loss off."
                )
        for field in (
            "generator_temperature",
            "global_rope_theta",
            "local_rope_theta",
            "layer_norm_eps",
            "initializer_range",
        ):
            if getattr(self, field) <= 0:
                raise ValueError(f"`{field}` must be > 0, got {getattr(self, field)}.")
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"`pad_token_id` ({self.pad_token_id}) must be in [0, vocab_size={self.vocab_size}). "
                "Take it and `vocab_size` from the tokenizer, or set `pad_token_id=None`."
            )

    def validate_layer_type(self):
        """Refuse an attention pattern that does not fit the layers."""
        allowed = {"full_attention", "sliding_attention"}
        if len(self.layer_types) != self.num_hidden_layers or not set(self.layer_types) <= allowed:
            raise ValueError(
                f"`layer_types` must hold one of {sorted(allowed)} for each of the {self.num_hidden_layers} layers "
                f"(`num_hidden_layers`), got {self.layer_types}. Leave it at `None` to derive it."
            )
        if "sliding_attention" in self.layer_types and (self.local_attention < 2 or self.local_attention % 2):
            raise ValueError(f"`local_attention` must be even and at least 2 tokens, got {self.local_attention}.")

    def validate_generator(self):
        """Refuse a generator that cannot speak to this discriminator or cannot share what was asked for."""
        generator = self.generator_config
        if generator is None:
            return
        if isinstance(generator, dict):  # assigned after construction
            self.generator_config = generator = _config_from_dict(generator)
        if generator.vocab_size != self.vocab_size:
            raise ValueError(
                f"`generator_config.vocab_size` ({generator.vocab_size}) must equal `vocab_size` ({self.vocab_size}): the "
                "discriminator reads the tokens the generator draws. Use one tokenizer for both."
            )
        if self.embedding_sharing == "none":
            return
        if not self.tie_word_embeddings and self.embedding_sharing != "gdes":
            raise ValueError(
                f"`embedding_sharing={self.embedding_sharing!r}` needs `tie_word_embeddings=True`, got False. "
                "Set `embedding_sharing='none'` to train separate tables."
            )
        width = getattr(generator, "embedding_size", None) or generator.hidden_size
        if width != self.embedding_size:
            raise ValueError(
                f"`embedding_sharing={self.embedding_sharing!r}` needs tables of one width, got `embedding_size` "
                f"{self.embedding_size} and {width} in `generator_config`. Make them equal (each network has its own "
                "projection to `hidden_size`) or set `embedding_sharing='none'`."
            )
        if self.embedding_sharing == "all" and isinstance(generator, ElectraPlusConfig):
            for field in ("max_position_embeddings", "type_vocab_size", "position_embedding", "norm_type", "use_bias"):
                if getattr(generator, field) != getattr(self, field):
                    raise ValueError(
                        f"`embedding_sharing='all'` needs the same `{field}` in both, got {getattr(self, field)} and "
                        f"{getattr(generator, field)} in `generator_config`. Make them equal or use `embedding_sharing='word'`."
                    )

    def validate_objectives(self):
        """Refuse objectives that do not exist, and weights that no loss can have."""
        for name, weight in (self.objective_weights or {}).items():
            if name not in OBJECTIVE_NAMES:
                raise ValueError(f"`objective_weights` may name {list(OBJECTIVE_NAMES)}, got {name!r}.")
            if not 0 <= weight < math.inf:
                raise ValueError(
                    f"`objective_weights[{name!r}]` must be finite and not negative, got {weight}. Use 0 to switch it off."
                )

    # ---- construction ----

    @classmethod
    def preset(cls, name: str, **overrides) -> "ElectraPlusConfig":
        """
        Return a named size with its matching generator.

        Args:
            name (`str`): `"tiny"`, `"small"`, `"base"`, `"large"` (classic) or `"modern-tiny"`, `"modern-small"`, `"modern-base"`.
            overrides:
                Fields to change. Those both networks must agree on (`vocab_size`, `embedding_size`,
                `max_position_embeddings`, …) reach the generator too; `generator_config` replaces it, `None` leaves it out.

        Returns:
            [`ElectraPlusConfig`]

        Raises:
            ValueError: `name` is unknown, or an override contradicts another field.
            TypeError: An override is no field of the configuration.
        """
        if name not in PRESETS:
            raise ValueError(f"`name` must be one of {list(PRESETS)}, got {name!r}.")
        known = set(cls.__dataclass_fields__) | {"num_labels", "name_or_path"}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise TypeError(f"`ElectraPlusConfig.preset` has no field {unknown}. See `help(ElectraPlusConfig)`.")
        sizes, generator_sizes = PRESETS[name]
        flavour = "modern" if name.startswith("modern-") else "classic"
        fields = {"flavour": flavour, **sizes, **overrides}
        if "generator_config" not in overrides:
            discriminator = cls(**{**fields, "embedding_sharing": "none"})
            inherited = {field: getattr(discriminator, field) for field in SHARED_FIELDS}
            generator = {"hidden_size": sizes["hidden_size"], "num_attention_heads": sizes["num_attention_heads"],
                         "num_hidden_layers": discriminator.num_hidden_layers, **generator_sizes}  # fmt: skip
            fields["generator_config"] = cls(**inherited, **generator)
        return cls(**fields)

    @classmethod
    def from_stock(cls, stock: PreTrainedConfig | dict[str, Any], **overrides) -> "ElectraPlusConfig":
        """
        Translate a stock `electra` or `bert` configuration into the classic flavour that computes the same numbers.

        Raises:
            ValueError: Another model type, or an option the classic flavour does not have.
        """
        fields = copy.deepcopy(stock if isinstance(stock, dict) else stock.to_dict())
        model_type = fields.pop("model_type", None)
        if model_type not in STOCK_MODEL_TYPES:
            raise ValueError(f"`stock` must have model type {sorted(STOCK_MODEL_TYPES)}, got {model_type!r}.")
        position_type = fields.pop("position_embedding_type", "absolute")
        if position_type != "absolute":
            raise ValueError(f"`position_embedding_type` must be 'absolute', got {position_type!r}.")
        if model_type == "bert":
            fields = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, **fields}
            fields["embedding_size"] = fields["hidden_size"]
        # stock ELECTRA's defaults, which a config.json may leave out
        fields = {"layer_norm_eps": 1e-12, "intermediate_size": 1024, "initializer_range": 0.02, **fields}
        for leftover in ("auto_map", "transformers_version", "tokenizer_class"):
            fields.pop(leftover, None)
        return cls(**{"flavour": "classic", **fields, **overrides})

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs):
        """
        Make a configuration of the content of a config.json.

        What it says of code beside the weights is for people without this package: here the package's own models and pipelines
        are used, nothing has to be trusted, and what is saved names no files that do not come along.
        """
        if __name__.startswith("electra_plus."):  # in a published folder this file has another name
            named = ("auto_map", "custom_pipelines")
            config_dict = {name: value for name, value in config_dict.items() if name not in named}
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs):
        """Read a folder or Hub repository; the configuration of a stock `electra` or `bert` model is translated."""
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        # Without this, transformers would keep model_type "electra" on our class and save it so.
        if config_dict.get("model_type") in STOCK_MODEL_TYPES:
            config_dict = cls.from_stock(config_dict).to_dict()
        return config_dict, kwargs


def _config_from_dict(fields: dict[str, Any]) -> PreTrainedConfig:
    fields = dict(fields)
    model_type = fields.pop("model_type", ElectraPlusConfig.model_type)
    if model_type == ElectraPlusConfig.model_type:  # works before registration too, as remote code must
        return ElectraPlusConfig(**fields)
    return AutoConfig.for_model(model_type, **fields)


__all__ = ["ElectraPlusConfig"]
