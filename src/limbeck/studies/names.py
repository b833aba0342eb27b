"""Studies by name: the shipped ones, and files of the user's. Free of torch."""

from __future__ import annotations

from pathlib import Path

from limbeck.errors import LimbeckError, nearest

SHIPPED = Path(__file__).parent / "shipped"
SUFFIXES = {".yaml", ".yml"}


def study_names() -> list[str]:
    """Return the names of the shipped studies."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def study_text(name: str) -> str:
    """Return a study's YAML as it stands, given a file or a shipped study's name.

    Raises:
        LimbeckError: there is none (the nearest is suggested), or it cannot be read.
    """
    path = Path(name)
    if path.suffix not in SUFFIXES:
        path = SHIPPED / f"{name}.yaml"
        if name not in study_names():
            raise LimbeckError(f"there is no study {name!r}{nearest(name, study_names(), see='limbeck list studies')}")
    if not path.exists():
        raise LimbeckError(f"there is no study file {name}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LimbeckError(f"the study {name} cannot be read as text in UTF-8: {error}") from error
