"""Repositories: what they hold, how they get there, what stops them, and what is left when something fails."""

import json
import logging

import huggingface_hub
import pytest
import torch
import transformers
from local_hub import TOKEN
from model_helpers import text_batch
from pipeline_helpers import build, small_tokenizer

import electra_plus
from electra_plus.cli.main import main
from electra_plus.hub.checks import HIDDEN, check_folder, without_tokens
from electra_plus.hub.publishing import check_repo_id
from electra_plus.registration import auto_map_for


def classifier(flavour="classic"):
    return build("SequenceClassification", flavour=flavour)


def names(folder) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_folder_holds_what_anyone_needs_and_nothing_else(tmp_path):
    model = build("PreTraining")
    folder = electra_plus.save_for_hub(
        model, tmp_path / "it", tokenizer=small_tokenizer(), license="mit", language="en"
    )
    found = names(folder)
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"} <= found
    assert {name for name in found if name.startswith("generator/")} == {
        f"generator/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }
    assert {name.rsplit(".", 1)[1] for name in found} == {"json", "safetensors", "md", "py"}
    config = json.loads((folder / "config.json").read_text())
    assert config["auto_map"] == auto_map_for("ElectraPlusForPreTraining")
    assert {f"{place.split('.')[0]}.py" for place in config["auto_map"].values()} <= found
    assert list(config["custom_pipelines"]) == ["replaced-token-detection"]
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.language, card.data.library_name) == ("mit", "en", "transformers")


def test_of_a_saved_folder_only_the_model_is_taken_and_its_bits_stay(tmp_path):
    model = classifier()
    model.save_pretrained(tmp_path / "run")
    small_tokenizer().save_pretrained(tmp_path / "run")
    for name in ("training_args.bin", "optimizer.pt", "notes.txt", ".env", "train.jsonl", "metrics.json"):
        (tmp_path / "run" / name).write_text("mine")
    (tmp_path / "run" / "checkpoint-5").mkdir()
    folder = electra_plus.save_for_hub(tmp_path / "run", tmp_path / "out", license="mit")
    assert not {
        name for name in names(folder) if name.endswith((".bin", ".pt", ".txt", ".env", ".jsonl", "metrics.json"))
    }
    weights = [(tmp_path / place / "model.safetensors").read_bytes() for place in ("run", "out")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("head", ["PreTraining", "MaskedLM", "TokenClassification"])
def test_stock_export_needs_no_code(head, tmp_path):
    model = build(head, flavour="classic")
    folder = electra_plus.save_for_hub(model, tmp_path / "it", tokenizer=small_tokenizer(), stock=True, license="mit")
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "electra" and "auto_map" not in config and not list(folder.rglob("*.py"))
    ours = getattr(model, "discriminator", model) if head == "PreTraining" else model
    stock = getattr(transformers, config["architectures"][0]).from_pretrained(folder)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, stock.state_dict()[name]), name
    assert (folder / "generator" / "model.safetensors").is_file() == (head == "PreTraining")
    assert f"transformers.{config['architectures'][0]}" in (folder / "README.md").read_text()


def test_a_modern_model_has_no_stock_form_and_nothing_is_left(tmp_path):
    with pytest.raises(ValueError, match="stock ELECTRA has no equal"):
        electra_plus.save_for_hub(classifier("modern"), tmp_path / "it", stock=True)
    assert list(tmp_path.iterdir()) == []


def test_pushed_and_opened_again_it_is_the_same(hub):
    model = classifier("modern").eval()
    done = electra_plus.push_to_hub(model, "me/it", tokenizer=small_tokenizer(), license="mit")
    assert done.oid == hub.repositories["me/it"].branches["main"]
    again = transformers.AutoModelForSequenceClassification.from_pretrained("me/it").eval()
    assert type(again) is type(model) and again.config.to_dict().get("auto_map") is None
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    torch.testing.assert_close(again(**text_batch()).logits, model(**text_batch()).logits, rtol=1e-6, atol=1e-7)
    assert "me/it" in hub.files("me/it")["README.md"].decode()


def test_what_an_earlier_commit_left_is_gone(hub):
    electra_plus.push_to_hub(classifier(), "me/it", license="mit")
    assert "model.safetensors" in hub.files("me/it")
    electra_plus.push_to_hub(classifier(), "me/it", license="mit", max_shard_size="30KB")
    found = hub.files("me/it")
    assert "model.safetensors" not in found and "model.safetensors.index.json" in found
    hub.repositories["me/it"].commit("main", {"handler.py": b"mine"})
    electra_plus.push_to_hub(classifier(), "me/it", license="mit", stock=True)
    found = hub.files("me/it")
    assert found.pop("handler.py") == b"mine", "what is not ours stays"
    assert not any(name.endswith(".py") or "-of-" in name or "index" in name for name in found)


def test_branches_leave_main_alone(hub):
    electra_plus.push_to_hub(classifier(), "me/it", license="mit")
    main_before = hub.files("me/it")
    electra_plus.push_to_hub(classifier("modern"), "me/it", license="mit", revision="v2")
    assert hub.files("me/it") == main_before
    assert transformers.AutoConfig.from_pretrained("me/it", revision="v2").flavour == "modern"


def test_an_interrupted_push_goes_on_where_it_was(hub, monkeypatch):
    """Large files that arrived are not sent again, and until the commit nothing is to be seen."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    model = classifier()
    with hub.fault(r"^PUT /large/", status=500, after=2), pytest.raises(ConnectionError, match="nothing was changed"):
        electra_plus.push_to_hub(model, "me/it", license="mit", max_shard_size="30KB")
    arrived = set(hub.large)
    assert len(arrived) >= 2 and list(hub.files("me/it")) == [".gitattributes"]
    hub.requests.clear()
    electra_plus.push_to_hub(model, "me/it", license="mit", max_shard_size="30KB")
    sent = {line.split("/")[-1] for line in hub.requests if line.startswith("PUT")}
    assert sent and not sent & arrived
    transformers.AutoModel.from_pretrained("me/it")


@pytest.mark.parametrize(
    ("where", "status", "error", "message"),
    [
        ("^POST ", 401, PermissionError, "says 401. Log in by `hf auth login` or set HF_TOKEN"),
        ("POST /api/models/me/it/commit", 403, PermissionError, "says 403"),
        ("POST /api/models/me/it/preupload", 404, FileNotFoundError, "no such repository"),
        ("POST /api/models/me/it/commit", 500, ConnectionError, "says 500. Try again later: nothing was changed"),
    ],
)
def test_refusals_and_failures_are_one_line_and_change_nothing(where, status, error, message, hub):
    electra_plus.push_to_hub(classifier(), "me/it", license="mit")
    before = dict(hub.files("me/it"))
    with hub.fault(where, status=status), pytest.raises(error, match=message) as raised:
        electra_plus.push_to_hub(classifier("modern"), "me/it", license="mit")
    said = str(raised.value)
    assert said.startswith("`repo_id` ('me/it')") and "\n" not in said and TOKEN not in said
    assert hub.files("me/it") == before


def test_no_hub_is_one_line(hub):
    hub.close()
    with pytest.raises(ConnectionError, match="cannot be reached. Try again"):
        electra_plus.push_to_hub(classifier(), "me/it", license="mit")


@pytest.mark.parametrize("repo_id", ["../me/it", "me/../it", "/etc/passwd", "a/b/c", "me/it\n", "me/..", "", "me/x--y"])
def test_names_that_are_none_are_refused_before_anything_is_sent(repo_id, hub):
    with pytest.raises(ValueError, match="`repo_id` must be 'owner/name'"):
        electra_plus.push_to_hub(classifier(), repo_id)
    with pytest.raises(ValueError, match="`repo_id` must be 'owner/name'"):
        electra_plus.hub.pull(repo_id)
    assert hub.requests == []


def test_a_stock_model_and_what_is_no_model_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds a stock model"):
        stock = transformers.ElectraModel(transformers.ElectraConfig(vocab_size=9, num_hidden_layers=1))
        electra_plus.save_for_hub(stock, tmp_path / "it")
    with pytest.raises(FileNotFoundError, match="must be a model or a folder of one"):
        electra_plus.save_for_hub(tmp_path / "nothing", tmp_path / "it")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text(json.dumps(classifier().config.to_dict()))
    (tmp_path / "bare" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match="must hold safetensors weights"):
        electra_plus.save_for_hub(tmp_path / "bare", tmp_path / "it")
    assert not (tmp_path / "it").exists()


def test_a_folder_with_something_in_it_is_not_replaced_unless_asked(tmp_path):
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be new or empty"):
        electra_plus.save_for_hub(classifier(), tmp_path / "it")
    assert names(tmp_path / "it") == {"mine.txt"}
    electra_plus.save_for_hub(classifier(), tmp_path / "it", overwrite=True)
    assert "mine.txt" not in names(tmp_path / "it")


# ---- tokens ----


def test_a_token_in_a_file_stops_it(tmp_path, hub):
    model = classifier()
    model.config.note = f"made with {TOKEN}"
    with pytest.raises(ValueError, match="`config.json` holds a token of the Hub"):
        electra_plus.push_to_hub(model, "me/it")
    card = tmp_path / "card.md"
    card.write_text("---\nlicense: mit\n---\n hf_" + "a" * 34)
    with pytest.raises(ValueError, match="`README.md` holds a token"):
        electra_plus.push_to_hub(classifier(), "me/it", card=card)
    assert "me/it" not in hub.repositories


def test_a_token_that_is_given_is_in_no_message_log_or_file(hub, monkeypatch, caplog, capsys):
    monkeypatch.delenv("HF_TOKEN")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PermissionError) as raised:
        electra_plus.push_to_hub(classifier(), "me/it", token="hf_" + "Wrong" * 8)
    electra_plus.push_to_hub(classifier(), "me/it", token=TOKEN, license="mit")
    printed = capsys.readouterr()
    said = [str(raised.value), caplog.text, printed.out, printed.err, *map(str, hub.files("me/it").values())]
    assert not any(TOKEN in text or "WrongWrong" in text for text in said)
    assert without_tokens(f"x {TOKEN} secret-17", "secret-17") == f"x {HIDDEN} {HIDDEN}"


# ---- what must not be uploaded or believed ----


def test_pickles_links_and_indices_that_lead_elsewhere_are_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match="`model.bin` may hold code"):
        check_folder(tmp_path)
    (tmp_path / "model.bin").unlink()
    (tmp_path / "config.json").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="`config.json` is a link"):
        check_folder(tmp_path)
    (tmp_path / "config.json").unlink()
    for name in ("../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..\\x", ".."):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
        with pytest.raises(ValueError, match="is not beside it"):
            check_folder(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"1234567", (2**62).to_bytes(8, "little") + b"{}", (10**8 + 1).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"],
    ids=["empty", "short", "exabytes", "a hundred megabytes", "no header"],
)  # fmt: skip
def test_false_headers_are_refused_without_being_read(content, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="`model.safetensors` is no whole safetensors file"):
        check_folder(tmp_path)
    classifier().config.save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"model\.safetensors.*(incomplete|truncated)"):
        electra_plus.ElectraPlusForSequenceClassification.from_pretrained(tmp_path)


def test_names_of_the_hub_are_taken():
    for repo_id in ("me/it", "some-one/Electra_small.v2"):
        check_repo_id(repo_id)


# ---- the command ----


def test_command_writes_a_folder_or_uploads_it(hub, tmp_path, capsys):
    classifier().save_pretrained(tmp_path / "run")
    small_tokenizer().save_pretrained(tmp_path / "run")
    command = ["publish", "--model", str(tmp_path / "run"), "--license", "apache-2.0", "--language", "en", "zh"]
    assert main([*command, "--save-to", str(tmp_path / "out")]) == 0
    assert "model.safetensors" in capsys.readouterr().out and hub.requests == []
    assert main([*command, "--repo", "me/it", "--message", "first"]) == 0
    assert (
        capsys.readouterr().out.strip() == f"{hub.endpoint}/me/it/commit/{hub.repositories['me/it'].branches['main']}"
    )
    card = huggingface_hub.ModelCard(hub.files("me/it")["README.md"].decode())
    assert card.data.language == ["en", "zh"]
    assert main([*command, "--save-to", str(tmp_path / "again"), "--revision", "v2"]) == 2
    assert "uploads nothing" in capsys.readouterr().err
    assert main([*command, "--repo", "../it"]) == 2
    assert capsys.readouterr().err.startswith("electra-plus publish: `repo_id` must be 'owner/name'")
