"""Photographs from Debian packages: downloaded with apt-get, unpacked into a cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGES = ("tuxpaint-stamps-default", "lomiri-wallpapers-16.04", "mate-backgrounds")


def cache_folder() -> Path:
    """Return where the packages are unpacked unless a folder is named."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wsolrefine" / "scenes"


def unpacked(folder: Path | None = None) -> Path:
    """Return the folder with the packages' files, downloading them if they are not there.

    Args:
        folder: where the packages are already unpacked (``dpkg-deb -x``); None: the cache.

    Raises:
        FileNotFoundError: they are not in ``folder``.
        RuntimeError: they cannot be downloaded.

    """
    if folder is not None:
        if not (folder / "usr/share/tuxpaint/stamps").is_dir():
            raise FileNotFoundError(
                f"folder: expected usr/share/tuxpaint/stamps in it, got {folder} without; "
                f"unpack there with dpkg-deb -x: {', '.join(PACKAGES)}"
            )
        return folder
    cache = cache_folder()
    if not cache.is_dir():
        cache.parent.mkdir(parents=True, exist_ok=True)
        # Under a temporary name until it is complete, so that a broken download is not kept.
        with tempfile.TemporaryDirectory(dir=cache.parent) as temporary:
            _fetch(Path(temporary))
            try:
                (Path(temporary) / "unpacked").rename(cache)
            except OSError:
                if not cache.is_dir():  # else another process was faster
                    raise
    return cache


def _fetch(folder: Path) -> None:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise RuntimeError(_advice(f"{program} is not installed"))
    # As root, apt-get downloads as another user, who needs access to the folder.
    folder.chmod(0o755)
    done = _apt_get(folder, "download", *PACKAGES)
    if done.returncode != 0:  # a new machine may have no package lists yet
        _apt_get(folder, "update")
        done = _apt_get(folder, "download", *PACKAGES)
    if done.returncode != 0:
        raise RuntimeError(_advice(done.stderr.strip() or "apt-get failed"))
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package.name, "unpacked"], cwd=folder, check=True)
        package.unlink()


def _apt_get(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["apt-get", *arguments], cwd=folder, capture_output=True, text=True)


def _advice(reason: str) -> str:
    names = ", ".join(PACKAGES)
    return (
        f"the photographs could not be downloaded: {reason}. Try 'apt-get update' as root, or "
        f"download {names} elsewhere, unpack them (dpkg-deb -x) into one folder, "
        "and pass it with --folder"
    )
