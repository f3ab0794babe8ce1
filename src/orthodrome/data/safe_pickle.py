"""Reading pickles of bytes, numbers and arrays without running any of them.

A pickle is a program that may call any function by name. Here the names it can reach are these: Python's own plain values, and what numpy
writes to restore an array. They are answered by stand-ins that take notes and do nothing else; every other name is refused before anything
is called. Arrays are made from the notes afterwards, of plain numbers only.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.types import InputError

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_BUILTINS = ("builtins", "__builtin__")


def load_plain(path: str | Path) -> Any:
    """The content of a pickle (of Python 2 or 3) that holds lists, tuples, numbers, bytes and numpy arrays of plain numbers.

    Strings of Python 2 become bytes. Raises InputError where the file cannot be read or is no pickle, and naming the first other thing
    that it asks for; then nothing of it has been called.
    """
    try:
        with Path(path).open("rb") as file:
            _check_memo(file)
            file.seek(0)
            return _plain(_PlainUnpickler(file, encoding="bytes").load())
    except InputError as error:
        raise InputError(f"{printable(path)}: {error}") from None
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle meets any error: EOFError, IndexError, UnpicklingError, ValueError, …
        raise InputError(f"{printable(path)}: damaged, or not a pickle: {type(error).__name__}: {error}") from None


def _check_memo(file: BinaryIO) -> None:
    """Refuses numbers of remembered values that no pickler gives: an array of that length would be made for them, whatever the file's."""
    for count, (opcode, number, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(number or 0) > count:
            raise InputError(f"refused: the pickle asks for memory for {number:,} values after {count:,} instructions")


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, encoding: str) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module, name))
        if found is None:
            raise InputError(
                f"refused: the pickle asks for {module}.{name}; a verification set needs only bytes, lists and numpy arrays. "
                "Nothing was run. Do not open this file with other programs"
            )
        return found


class _StandIn:
    """Called as the thing it stands for; calls ``make``. Cannot be given state, as pickles may try."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise InputError("refused: the pickle changes what it was given")


class _DType:
    """Notes of a dtype: its name, and its byte order once the pickle has told it."""

    def __init__(self, name: str | bytes, *rest: object) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else str(name)
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else str(order)

    def dtype(self) -> np.dtype[Any]:
        found = np.dtype(self.name)
        if found.kind not in "buif" or self.order not in "|<>=":
            raise InputError(f"refused: the pickle holds an array of {self.name!r}; expected plain numbers")
        return found if self.order == "|" else found.newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Notes of an array: shape, dtype, order and bytes."""

    def __init__(self, *arguments: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
            raise InputError("refused: the pickle holds an array of objects; expected plain numbers")
        order = "F" if fortran else "C"
        return np.frombuffer(bytes(data), dtype=dtype.dtype()).reshape(tuple(map(int, shape)), order=order)  # type: ignore[call-overload]


def _from_buffer(data: Any, dtype: _DType, shape: tuple[int, ...], order: str, *rest: object) -> _Array:
    """What numpy writes from pickle protocol 5 on."""
    found = _Array()
    found.state = (1, shape, dtype, order == "F", _held(data))
    return found


def _held(data: Any) -> bytes:
    """Bytes that the file holds; a number would ask for as much memory."""
    if not isinstance(data, bytes | bytearray):
        raise InputError(f"refused: the pickle makes numbers of a {type(data).__name__}; expected bytes")
    return bytes(data)


def _scalar(dtype: _DType, data: bytes) -> Any:
    data = _held(data)
    return np.frombuffer(bytes(data), dtype=dtype.dtype())[0].item()


def _encoded(text: str, encoding: str | bytes) -> bytes:
    """How Python 3 writes bytes into old protocols."""
    if encoding not in ("latin1", b"latin1"):
        raise InputError(f"refused: the pickle asks for the text encoding {encoding!r}")
    return text.encode("latin1")


def _bytes(*arguments: Any) -> bytes:
    if any(isinstance(argument, int) for argument in arguments):
        raise InputError("refused: the pickle asks for a block of memory of a given size")
    return bytes(*(argument for argument in arguments[:1]))


_ALLOWED: dict[tuple[str, str], _StandIn] = {
    ("_codecs", "encode"): _StandIn(_encoded),
    ("numpy", "ndarray"): _StandIn(_Array),
    ("numpy", "dtype"): _StandIn(_DType),
    **{(module, "_reconstruct"): _StandIn(_Array) for module in _NUMPY},
    **{(module, "scalar"): _StandIn(_scalar) for module in _NUMPY},
    **{(module, "_frombuffer"): _StandIn(_from_buffer) for module in _NUMERIC},
    **{(module, name): _StandIn(_bytes) for module in _BUILTINS for name in ("bytes", "bytearray")},
}


def _plain(value: Any) -> Any:
    """The notes turned into arrays, two levels deep: the items of a set lie in a list in a tuple."""
    if isinstance(value, list | tuple):
        return [[_item(inner) for inner in part] if isinstance(part, list | tuple) else _item(part) for part in value]
    return _item(value)


def _item(value: Any) -> Any:
    return value.array() if isinstance(value, _Array) else value
