"""
transformers' own model tests, applied to every text model of the package.

Needs the test files of transformers' source archive as the importable package `tests`; `test_transformers_model_tester.py`
fetches them and runs this file in a process of its own.
"""

import unittest

from model_helpers import joint_config, small_config
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from transformers.models.auto import modeling_auto

import electra_plus
from electra_plus import ElectraPlusConfig
from electra_plus.registration import HEADS

# The tests decide by these tables of class names which labels a head needs, and know our classes only if they stand there.
NAME_TABLES = {
    "AutoModel": modeling_auto.MODEL_MAPPING_NAMES,
    "AutoModelForPreTraining": modeling_auto.MODEL_FOR_PRETRAINING_MAPPING_NAMES,
    "AutoModelForMaskedLM": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "AutoModelForSequenceClassification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "AutoModelForTokenClassification": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    "AutoModelForQuestionAnswering": modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
    "AutoModelForMultipleChoice": modeling_auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES,
}
for head in HEADS:
    if head.auto_class is not None:
        # of several classes the first: the suite is run on it
        NAME_TABLES[head.auto_class].setdefault(ElectraPlusConfig.model_type, head.class_name)


class ElectraPlusModelTester:
    """What `ModelTesterMixin` asks of a model: small configurations and matching inputs."""

    batch_size = 5
    seq_length = 13  # longer than the window of the modern flavour's local layer
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 2
    num_choices = 4
    is_training = True

    def __init__(self, make_config, flavour: str, **overrides):
        self.make_config = make_config
        self.flavour = flavour
        self.overrides = overrides

    def get_config(self) -> ElectraPlusConfig:
        return self.make_config(self.flavour, **self.overrides)

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        shape = [self.batch_size, self.seq_length]
        return config, {
            "input_ids": ids_tensor(shape, config.vocab_size),
            "attention_mask": random_attention_mask(shape),
            "token_type_ids": ids_tensor(shape, config.type_vocab_size),
        }


class Suite(ModelTesterMixin):
    """The parts that all cases share; a case names its configuration and its model classes."""

    flavour: str
    make_config = staticmethod(small_config)
    overrides: dict = {}
    model_names: tuple[str, ...] = ()
    # the archive lacks the generation tests; `test_features.py` has some of its own
    all_generative_model_classes = ()
    # the default leaves models out whose configuration carries no recent copyright year
    test_can_init_all_missing_weights_before_2023 = True

    @property
    def all_model_classes(self):
        return tuple(getattr(electra_plus, name) for name in self.model_names)

    def setUp(self):
        self.model_tester = ElectraPlusModelTester(self.make_config, self.flavour, **self.overrides)
        self.config_tester = ConfigTester(self, ElectraPlusConfig, flavour=self.flavour, hidden_size=40)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels and model_class.__name__ in (
            "ElectraPlusForPreTraining",
            "ElectraPlusForReplacedTokenDetection",
        ):
            inputs["labels"] = inputs["input_ids"] % 2
        return inputs

    def test_config(self):
        self.config_tester.run_common_tests()


class HeadSuite(Suite):
    model_names = (
        "ElectraPlusModel",
        "ElectraPlusForReplacedTokenDetection",
        "ElectraPlusForMaskedLM",
        "ElectraPlusForSequenceClassification",
        "ElectraPlusForTokenClassification",
        "ElectraPlusForQuestionAnswering",
        "ElectraPlusForMultipleChoice",
    )


class DecoderSuite(Suite):
    overrides = {"is_decoder": True}
    model_names = ("ElectraPlusModel", "ElectraPlusForCausalLM")


class JointSuite(Suite):
    make_config = staticmethod(joint_config)
    # so cold that the generator always draws its likeliest token: two runs can be compared
    overrides = {"generator_temperature": 1e-12}
    model_names = ("ElectraPlusForPreTraining",)
    _is_composite = True

    def test_load_save_without_tied_weights(self):
        # takes `tie_word_embeddings` back, which the configuration refuses as long as the networks share tables
        self.model_tester.overrides = {"embedding_sharing": "none"}
        super().test_load_save_without_tied_weights()

    def test_resize_tokens_embeddings(self):
        # its last part gives another vocabulary to the discriminator alone, which shared tables cannot have
        with self.assertRaisesRegex(ValueError, "needs the same embedding tables"):
            super().test_resize_tokens_embeddings()
        self.model_tester.overrides = {"embedding_sharing": "none"}
        super().test_resize_tokens_embeddings()


class ClassicHeadsTest(HeadSuite, unittest.TestCase):
    flavour = "classic"


class ModernHeadsTest(HeadSuite, unittest.TestCase):
    flavour = "modern"


class ClassicDecoderTest(DecoderSuite, unittest.TestCase):
    flavour = "classic"


class ModernDecoderTest(DecoderSuite, unittest.TestCase):
    flavour = "modern"


class ClassicJointTest(JointSuite, unittest.TestCase):
    flavour = "classic"


class ModernJointTest(JointSuite, unittest.TestCase):
    flavour = "modern"
