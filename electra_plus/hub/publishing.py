"""
Repositories for the Hub: written completely, looked through for what must not leave the machine, then uploaded in one commit.
"""

import logging
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitInfo, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from electra_plus.conversion import to_stock
from electra_plus.folders import copy_tokenizer, finished_folder, one_line, read_config
from electra_plus.hub.carried_code import carry_code, code_files, own_task
from electra_plus.hub.checks import check_folder, without_tokens
from electra_plus.hub.model_card import ModelFacts, render_card, written_by_us
from electra_plus.hub.records import RECORD_FILE, TrainingRecord
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.version import __version__

logger = logging.getLogger(__name__)

JOINT_CLASS = "ElectraPlusForPreTraining"
GENERATOR = "generator"  # the folder of a pretraining repository that holds it alone
# Of a saved folder, what belongs to a model; optimizer states, arguments and logs stay where they are.
PUBLISHED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    RECORD_FILE,
)
# What an earlier commit may have left and this one does not replace: transformers would read it first.
REPLACED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model*",
    "generation_config.json",
    f"{GENERATOR}/*",
)


def save_for_hub(
    model: PreTrainedModel | str | Path,
    folder: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    card: ModelCard | str | Path | None = None,
    *,
    repo_id: str | None = None,
    stock: bool = False,
    license: str | None = None,
    language: str | list[str] | None = None,
    max_shard_size: int | str = "5GB",
    overwrite: bool = False,
) -> Path:
    r"""
    Write a folder as it goes to the Hub: weights, configuration, tokenizer, the model's code and a model card.

    Whoever has this package opens it without a flag, whoever has only transformers with `trust_remote_code=True`, by every
    Auto class and by `transformers.pipeline(model=folder)`. A joint checkpoint holds its generator a second time in
    `generator/`, for `subfolder="generator"`. The folder is written beside its final place and moved there when complete.

    Args:
        model ([`PreTrainedModel`], `str` or `Path`):
            A model of this package or a [`~transformers.EncoderDecoderModel`] of two, or the folder that one was saved in. Of a
            folder only what belongs to the model is taken.
        folder (`str` or `Path`): Where to write.
        tokenizer ([`PreTrainedTokenizerBase`], *optional*): `None` takes that of the `model` folder.
        card ([`ModelCard`], `str` or `Path`, *optional*):
            A card, or the file of one. `None` keeps the README.md of the `model` folder if somebody wrote it, and else makes one of
            what is known of the model and its training.
        repo_id (`str`, *optional*): What a card that is made tells people to open, `None` is the folder's name.
        stock (`bool`, *optional*, defaults to `False`):
            Write a classic model as native `electra`, for people who have only transformers, without any code. Of a joint
            checkpoint the discriminator is at the top.
        license (`str`, *optional*): Identifier for a card that is made, such as `"apache-2.0"`.
        language (`str` or `list[str]`, *optional*): Codes for a card that is made, such as `"en"`.
        max_shard_size (`int` or `str`, *optional*, defaults to `"5GB"`): Largest file of weights of a model that is given as such.
        overwrite (`bool`, *optional*, defaults to `False`): Replace a `folder` that is not empty, with all it holds.

    Returns:
        `Path`: the folder.

    Raises:
        FileNotFoundError: `model` is no folder of a model.
        ValueError: The model is not one of this package, has no safetensors weights, or a field that stock ELECTRA lacks; `folder` is
            not empty; or a file holds a token or is no safetensors file.

    Example:

    ```python
    electra_plus.save_for_hub(model, "for-the-hub", tokenizer=tokenizer, license="apache-2.0", language="en")
    transformers.AutoModelForSequenceClassification.from_pretrained("for-the-hub", trust_remote_code=True)  # anywhere
    ```
    """
    given = [] if isinstance(model, PreTrainedModel) else [model]
    with finished_folder(folder, overwrite, *given) as unfinished:
        unfinished.mkdir()
        if isinstance(model, PreTrainedModel):
            model.save_pretrained(unfinished, max_shard_size=max_shard_size)
            record = TrainingRecord.of_model(model)
        else:
            _copy_model(Path(model), unfinished)
            record = TrainingRecord.read(unfinished)
        record = record.with_answers(license=license, language=language)
        if record != TrainingRecord():
            record.write(unfinished)
        if tokenizer is not None:
            tokenizer.save_pretrained(unfinished)
        config = read_config(unfinished, "model")
        if stock:
            _make_stock(unfinished)
        else:
            _add_code(unfinished, config)
        facts = ModelFacts.of_folder(unfinished, config, stock)
        name = repo_id or Path(folder).resolve().name
        own = None if isinstance(model, PreTrainedModel) else Path(model) / "README.md"
        made = _write_card(unfinished, card, own, render_card(record, facts, name))
        if not made and (license is not None or language is not None):
            logger.warning(
                "`license` and `language` are for a card that is made; the one that is there stays as it is."
            )
        check_folder(unfinished)
    return Path(folder)


def push_to_hub(
    model: PreTrainedModel | str | Path,
    repo_id: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    card: ModelCard | str | Path | None = None,
    *,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
    stock: bool = False,
    license: str | None = None,
    language: str | list[str] | None = None,
    max_shard_size: int | str = "5GB",
) -> CommitInfo:
    r"""
    Publish a model: [`save_for_hub`] in a temporary folder, then one commit that replaces what an earlier one left.

    Nothing is visible before the commit is whole. After an interruption the same call goes on: large files that arrived are not sent
    again.

    Args:
        model, tokenizer, card, stock, license, language, max_shard_size: As for [`save_for_hub`].
        repo_id (`str`): `"owner/name"`; made if there is none.
        private (`bool`, *optional*): Of a repository that is made; `None` is the owner's usual choice.
        revision (`str`, *optional*): Branch, made if there is none. `None` is `"main"`.
        create_pr (`bool`, *optional*, defaults to `False`): Propose the commit instead of making it.
        commit_message (`str`, *optional*): `None` names the class and this package's version.
        token (`str`, *optional*): `None` takes the environment's `HF_TOKEN` or that of `hf auth login`.

    Returns:
        [`~huggingface_hub.CommitInfo`]: with `oid` and `commit_url`.

    Raises:
        ValueError: As for [`save_for_hub`], or `repo_id` is no name.
        PermissionError: The token is missing or may not write there.
        ConnectionError: The Hub cannot be reached or fails; what it had is unchanged.

    Example:

    ```python
    electra_plus.push_to_hub(model, "me/my-electra", tokenizer=tokenizer, license="apache-2.0", language="en")
    ```
    """
    check_repo_id(repo_id)
    with tempfile.TemporaryDirectory() as folder:
        ready = save_for_hub(
            model,
            Path(folder) / "repository",
            tokenizer,
            card,
            repo_id=repo_id,
            stock=stock,
            license=license,
            language=language,
            max_shard_size=max_shard_size,
        )
        class_name = read_config(ready, "model")["architectures"][0]
        with hub_errors("repo_id", repo_id, token):
            api = HfApi(library_name="electra_plus", library_version=__version__, token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            if revision is not None and not create_pr:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            return api.upload_folder(
                repo_id=repo_id,
                folder_path=ready,
                revision=revision,
                create_pr=create_pr,
                commit_message=commit_message or f"{class_name}, by electra_plus {__version__}",
                delete_patterns=[*REPLACED, *sorted(code_files())],
            )


def check_repo_id(repo_id: str) -> None:
    """Refuse what is no `"owner/name"`, or a name with characters that the Hub does not take, such as those of a path."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(
            f"`repo_id` must be 'owner/name' of letters, digits, '-', '_' and '.', got {repo_id!r}: {one_line(error)}"
        ) from error


@contextmanager
def hub_errors(argument: str, value: str, token: str | None = None):
    """Turn what the Hub refuses or fails into one line with what to do, without the token."""
    try:
        yield
    except (HfHubHTTPError, RuntimeError) as raised:
        error = raised if isinstance(raised, HfHubHTTPError) else raised.__cause__  # of an upload in a thread
        if not isinstance(error, HfHubHTTPError):
            raise
        status = error.response.status_code if error.response is not None else None
        said = without_tokens(one_line(error), token)
        if status in (401, 403):
            raise PermissionError(
                f"`{argument}` ({value!r}): the Hub says {status}. Log in by `hf auth login` or set HF_TOKEN, with a token that "
                f"may do this there. ({said})"
            ) from None
        if status == 404:
            raise FileNotFoundError(
                f"`{argument}` ({value!r}): the Hub has no such repository, revision or file, or this token may not see it. ({said})"
            ) from None
        raise ConnectionError(
            f"`{argument}` ({value!r}): the Hub says {status}. Try again later: nothing was changed there. ({said})"
        ) from None
    except (HTTPError, OSError) as error:
        raise ConnectionError(
            f"`{argument}` ({value!r}): the Hub cannot be reached. Try again: nothing was changed there. "
            f"({without_tokens(one_line(error), token)})"
        ) from None


def _copy_model(source: Path, folder: Path) -> None:
    """Copy what belongs to a model from a folder it was saved in."""
    if not source.is_dir():
        raise FileNotFoundError(f"`model` must be a model or a folder of one, got {str(source)!r}, which is neither.")
    read_config(source, "model")
    files = [file for pattern in PUBLISHED for file in sorted(source.glob(pattern)) if file.is_file()]
    if not any(file.suffix == ".safetensors" for file in files):
        raise ValueError(
            f"`model` must hold safetensors weights, got {str(source)!r} without. Open it with its class and call `save_pretrained`."
        )
    for file in files:
        shutil.copyfile(file, folder / file.name)
    copy_tokenizer([source], folder)


def _add_code(folder: Path, config: dict) -> None:
    """Add the code, and to a joint checkpoint its generator alone."""
    carry_code(folder, own_task(config))
    if (config.get("architectures") or [""])[0] != JOINT_CLASS:
        return
    with _silent():
        generator = AutoModelForMaskedLM.from_pretrained(folder)
    generator.save_pretrained(folder / GENERATOR)
    copy_tokenizer([folder], folder / GENERATOR)
    if generator.config.model_type == ElectraPlusConfig.model_type:
        carry_code(folder / GENERATOR)
        for file in (folder / GENERATOR).glob("*.py"):  # transformers looks for code at the top, also for a `subfolder`
            file.unlink()


def _make_stock(folder: Path) -> None:
    """Replace a classic model by native `electra`."""
    ours = folder.with_name(f"{folder.name}-ours")
    folder.rename(ours)
    try:
        written = to_stock(ours, folder)
        if len(written) > 1:  # the discriminator at the top, where people look
            for file in (folder / "discriminator").iterdir():
                file.rename(folder / file.name)
            (folder / "discriminator").rmdir()
        if (ours / RECORD_FILE).is_file():
            shutil.copyfile(ours / RECORD_FILE, folder / RECORD_FILE)
    finally:
        shutil.rmtree(ours, ignore_errors=True)


def _write_card(folder: Path, card: ModelCard | str | Path | None, own: Path | None, made: str) -> bool:
    """
    Write README.md: the card that is given, the one of the model's folder if somebody wrote it, or the one that was made.

    Returns:
        `bool`: whether it is the last.
    """
    if isinstance(card, ModelCard):
        text = str(card)
    elif card is not None:
        if not Path(card).is_file():
            raise FileNotFoundError(f"`card` must be a ModelCard or a file, got {str(card)!r}, which is neither.")
        text = Path(card).read_text(encoding="utf-8")
    elif own is not None and own.is_file() and not written_by_us(own.read_text(encoding="utf-8")):
        text = own.read_text(encoding="utf-8")
    else:
        text = made
    if "\nlicense:" not in text:
        logger.warning("The card names no licence, so nobody may use the model: give `license` (`--license`).")
    (folder / "README.md").write_text(text, encoding="utf-8")
    return text is made


@contextmanager
def _silent():
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()


__all__ = ["check_repo_id", "hub_errors", "push_to_hub", "save_for_hub"]
