"""accelerate's loading of models that memory does not hold: the scores of the whole model, whatever lies where."""

import re

import pytest
import torch
from accelerate import infer_auto_device_map, init_empty_weights, load_checkpoint_and_dispatch
from head_helpers import batch_for, every_flavour, every_head, make_model, scores_of
from torch import nn

import electra_plus


def assert_same_scores(found: nn.Module, expected: nn.Module, batch: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        found, expected = (scores_of(model.eval()(**batch), batch) for model in (found, expected))
    for name in expected:
        # a product whose weights lie at another place in memory may differ in the last bit
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-6)


def smallest_parts(model: nn.Module) -> list[str]:
    """What a device map may place: the encoder's layers one by one, everything else as a whole."""
    encoder = model.base_model.encoder
    split, names = (model, model.base_model, encoder, encoder.layer), []

    def collect(prefix: str, module: nn.Module) -> None:
        for name, child in module.named_children():
            if any(child is one for one in split):
                collect(f"{prefix}{name}.", child)
            else:
                names.append(prefix + name)

    collect("", model)
    return names


def layers_on_disk(model: nn.Module) -> dict[str, str]:
    places = {name: "disk" if ".layer." in name else "cpu" for name in smallest_parts(model)}
    assert sum(place == "disk" for place in places.values()) == 2
    return places


def is_offloaded(model: nn.Module) -> bool:
    return model.base_model.encoder.layer[1].output.dense.weight.device.type == "meta"


@pytest.mark.parametrize("device_map", ["auto", "cpu", {"": "cpu"}], ids=str)
@pytest.mark.parametrize("name", ["ElectraPlusForPreTraining", "ElectraPlusForSequenceClassification"])
def test_device_map_places_a_model(name, device_map, tmp_path):
    model = make_model(name, "modern")
    model.save_pretrained(tmp_path)
    placed = getattr(electra_plus, name).from_pretrained(tmp_path, device_map=device_map)
    assert_same_scores(placed, model, batch_for(name))


@pytest.mark.slow
@every_flavour
@every_head
def test_layers_may_lie_on_disk(name, flavour, tmp_path):
    model, batch = make_model(name, flavour), batch_for(name)
    model.save_pretrained(tmp_path / "model")
    offloaded = type(model).from_pretrained(
        tmp_path / "model", device_map=layers_on_disk(model), offload_folder=str(tmp_path / "offloaded")
    )
    assert is_offloaded(offloaded)
    assert_same_scores(offloaded, model, batch)


@pytest.mark.slow
@every_flavour
@every_head
def test_checkpoint_is_dispatched_into_an_empty_model(name, flavour, tmp_path):
    model, batch = make_model(name, flavour), batch_for(name)
    model.save_pretrained(tmp_path / "model")
    with init_empty_weights():
        empty = type(model)(model.config)
    empty.tie_weights()  # accelerate asks for it
    dispatched = load_checkpoint_and_dispatch(
        empty,
        str(tmp_path / "model" / "model.safetensors"),
        device_map=layers_on_disk(model),
        offload_folder=str(tmp_path / "offloaded"),
    )
    assert is_offloaded(dispatched)
    assert_same_scores(dispatched, model, batch)


@every_flavour
def test_everything_may_lie_on_disk(flavour, tmp_path):
    model = make_model("ElectraPlusForMaskedLM", flavour)
    model.save_pretrained(tmp_path / "model")
    offloaded = electra_plus.ElectraPlusForMaskedLM.from_pretrained(
        tmp_path / "model", device_map={"": "disk"}, offload_folder=str(tmp_path / "offloaded")
    )
    batch = batch_for("ElectraPlusForMaskedLM")
    assert_same_scores(offloaded, model, batch)
    del batch["token_type_ids"]  # their table has to be fetched all the same
    assert_same_scores(offloaded, model, batch)


@every_flavour
def test_layers_are_not_split(flavour):
    model = make_model("ElectraPlusForSequenceClassification", flavour)
    embeddings, layer = (
        sum(4 * weights.numel() for weights in part.parameters())
        for part in (model.electra.embeddings, model.electra.encoder.layer[0])
    )
    memory = {"cpu": embeddings + 2 * layer, "disk": 10**9}  # less than everything, as room for one more layer is kept

    def parts_of_layers(**arguments):
        places = infer_auto_device_map(model, max_memory=memory, **arguments)
        assert set(places.values()) == {"cpu", "disk"}
        return [name for name in places if re.search(r"encoder\.layer\.\d+\.", name)]

    assert parts_of_layers()
    assert not parts_of_layers(no_split_module_classes=model._no_split_modules)
