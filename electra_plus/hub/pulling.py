"""Whole repositories from the Hub, of which every file is what its author uploaded."""

from pathlib import Path

from huggingface_hub import HfApi

from electra_plus.hub.checks import PICKLES, check_index, check_safetensors
from electra_plus.hub.publishing import check_repo_id, hub_errors
from electra_plus.version import __version__


def pull(repo_id: str, revision: str | None = None, token: str | None = None) -> Path:
    r"""
    Download a model's repository into the cache and compare every file with the Hub's checksums.

    `from_pretrained("owner/name")` downloads what it needs and believes it. This is for a folder to keep or to run elsewhere: all
    files are of one commit, none has changed on its way, none is a pickle. What arrived damaged is taken out of the cache again.

    Args:
        repo_id (`str`): `"owner/name"`.
        revision (`str`, *optional*): Branch, tag or commit, `None` is `"main"`.
        token (`str`, *optional*): `None` takes the environment's `HF_TOKEN` or that of `hf auth login`.

    Returns:
        `Path`: the folder, for `from_pretrained`.

    Raises:
        ValueError: `repo_id` is no name, a file is not what the Hub says, or its names lead elsewhere.
        FileNotFoundError: There is no such repository or revision.
        PermissionError: It is private or gated.
        ConnectionError: The Hub cannot be reached or fails.

    Example:

    ```python
    folder = electra_plus.hub.pull("me/my-electra", revision="v1")
    transformers.AutoModel.from_pretrained(folder)
    ```
    """
    check_repo_id(repo_id)
    api = HfApi(library_name="electra_plus", library_version=__version__, token=token)
    with hub_errors("repo_id", repo_id, token):
        # one commit, whatever is pushed meanwhile
        commit = api.model_info(repo_id, revision=revision).sha
        folder = Path(
            api.snapshot_download(repo_id, revision=commit, ignore_patterns=[f"*{suffix}" for suffix in PICKLES])
        )
        found = api.verify_repo_checksums(repo_id, revision=commit)
    if found.mismatches:
        names = sorted(mismatch["path"] for mismatch in found.mismatches)
        for name in names:
            _forget(folder / name)
        raise ValueError(
            f"`repo_id` ({repo_id!r}): {', '.join(names)} arrived damaged and is deleted. Pull again; if it happens again, tell the "
            "author."
        )
    for file in folder.rglob("*.safetensors"):
        check_safetensors(file)
    for file in folder.rglob("*.safetensors.index.json"):
        check_index(file)
    return folder


def _forget(file: Path) -> None:
    file.resolve().unlink(missing_ok=True)  # in the cache a link leads to it
    file.unlink(missing_ok=True)


__all__ = ["pull"]
