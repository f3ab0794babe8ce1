"""OpenCV, when it is first needed."""

from __future__ import annotations

from typing import Any

from orthodrome.types import InputError


def opencv() -> Any:
    """The module ``cv2``, with a detector of faces in it. Raises InputError naming the extra where it is missing."""
    try:
        import cv2
    except ImportError:
        raise InputError('finding and aligning faces needs OpenCV: pip install "orthodrome[align]"') from None
    if not hasattr(cv2, "FaceDetectorYN"):
        raise InputError(
            f'this OpenCV ({cv2.__version__}) has no FaceDetectorYN; 4.8 or newer is needed: pip install "orthodrome[align]"'
        )
    return cv2
