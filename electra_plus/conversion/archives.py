"""Zip archives from elsewhere, extracted so that nothing lands outside the folder and no small file fills the disk."""

import stat
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

MAX_MEMBERS = 100_000  # a file of torch.save has one for each tensor
# Weights hardly shrink: those of released archives by a tenth. Beyond this factor an archive is made to fill a disk.
MAX_GROWTH = 50
FREE_BYTES = 16 << 20  # text files may shrink more, and may be this large together in any case


def extract_archive(archive: Path, folder: Path) -> Path:
    """
    Extract a zip archive into an empty folder.

    Args:
        archive (`Path`): The file.
        folder (`Path`): Where to; it exists and is empty.

    Returns:
        `Path`: `folder`, or the only folder in it if all members lie in one.

    Raises:
        ValueError: It is damaged, or a member has a path that leads elsewhere, is a link, or would be far larger than the
            archive. Then nothing was extracted.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            # macOS adds a folder of its own
            members = [m for m in opened.infolist() if not (m.is_dir() or m.filename.startswith("__MACOSX/"))]
            _refuse_hostile(archive, members)
            for member in members:
                _extract(opened, member, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f"`{archive}` cannot be read as a zip archive: {' '.join(str(error).split())}. Copy or download it again."
        ) from error
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _refuse_hostile(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        name = member.filename
        parts = [*PurePosixPath(name).parts, *PureWindowsPath(name).parts]
        if ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or "\0" in name:
            raise ValueError(
                f"`{archive}` holds {name!r}, which would be written outside the folder: refused. Get the archive where you trust it."
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ValueError(
                f"`{archive}` holds the link {name!r}, which may lead anywhere: refused. Get the archive where you trust it."
            )
    refuse_growth(archive, members)


def refuse_growth(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise `ValueError` if the members of an archive are far more, or far larger, than any checkpoint's."""
    size = archive.stat().st_size
    extracted = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or extracted > max(FREE_BYTES, MAX_GROWTH * size):
        raise ValueError(
            f"`{archive}` ({size:,} bytes) would become {len(members):,} files of {extracted:,} bytes, which no checkpoint "
            "does: refused. Extract it yourself if you trust it, and give the folder."
        )


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / PurePosixPath(member.filename)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise zipfile.BadZipFile(f"{member.filename!r} leads out of the archive")
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with opened.open(member) as source, open(target, "xb") as file:
        # a member may hold more than it says
        while chunk := source.read(1 << 20):
            written += len(chunk)
            if written > member.file_size:
                raise zipfile.BadZipFile(f"{member.filename!r} is larger than the archive says")
            file.write(chunk)


__all__ = ["extract_archive", "refuse_growth"]
