"""`torch.export`: one graph for rows and batches of any size, with the model's scores, also from a file."""

import pytest
import torch
from head_helpers import batch_for, every_flavour, make_model, scores_of

from electra_plus.registration import HEADS

pytestmark = pytest.mark.slow

# which chunks there are depends on the tokens: no graph can say it
NAMES = [head.class_name for head in HEADS if head.class_name != "ElectraPlusForLongSequenceClassification"]


def of_any_size(batch: dict[str, torch.Tensor]) -> dict[str, dict[int, object]]:
    return {name: dict.fromkeys(range(tensor.dim()), torch.export.Dim.AUTO) for name, tensor in batch.items()}


@every_flavour
@pytest.mark.parametrize("name", NAMES)
def test_graph_gives_the_models_scores_whatever_the_size(name, flavour, tmp_path):
    model = make_model(name, flavour, use_cache=False)
    example = batch_for(name, length=40)  # local attention of the model itself takes this length in blocks
    exported = torch.export.export(model, (), example, dynamic_shapes=of_any_size(example))
    torch.export.save(exported, tmp_path / "model.pt2")
    graph = torch.export.load(tmp_path / "model.pt2").module()
    for length in (1, 16, 63, 100):
        batch = {key: tensor[..., :length] for key, tensor in batch_for(name, length=max(length, 7)).items()}
        for rows in (1, 3):
            batch = {key: tensor[:rows].contiguous() for key, tensor in batch.items()}
            with torch.no_grad():
                found, expected = (scores_of(network(**batch), batch) for network in (graph, model))
            assert found.keys() == expected.keys()
            for key in expected:
                torch.testing.assert_close(found[key], expected[key], rtol=0, atol=1e-5)


@every_flavour
def test_graph_of_token_ids_alone(flavour):
    model = make_model("ElectraPlusModel", flavour)
    example = {"input_ids": torch.randint(5, 90, (2, 40))}
    graph = torch.export.export(model, (), example, dynamic_shapes=of_any_size(example)).module()
    for length in (3, 77):
        ids = torch.randint(5, 90, (3, length))
        with torch.no_grad():
            found, expected = graph(input_ids=ids).last_hidden_state, model(ids).last_hidden_state
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
