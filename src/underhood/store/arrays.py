"""The arrays of an audit, in `maps.zarr`: a Zarr shard holds just the rows of a shard of the audit.

Each array has an entry for every row of the data set; those of rows that failed are 0. Maps are kept as
float16 of each map divided by its largest value, which is kept beside it, so that none is too large or too
small; scores and features are kept as they are, so that what is found from them is the same, bit for bit.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from underhood.errors import BadInput
from underhood.store.result import Floats, ShardResult

NAMES = ("maps", "scale", "scores", "features")
AGAIN = "put back a copy, or make the audit again in another folder"
CHUNK = 64  # rows that are read together, at most


def create(folder: Path, rows: int, shard: int, shapes: dict[str, Sequence[int]]) -> None:
    """Arrays without data yet; shapes: of one row's "scores", "map" and "features"."""
    chunk = next(size for size in range(min(CHUNK, shard), 0, -1) if shard % size == 0)
    group = zarr.create_group(folder, overwrite=True)
    for name, shape, dtype in (
        ("maps", shapes["map"], "float16"),
        ("scale", (), "float32"),
        ("scores", shapes["scores"], "float32"),
        ("features", shapes["features"], "float32"),
    ):
        group.create_array(
            name,
            shape=(rows, *shape),
            chunks=(chunk, *shape),
            shards=(shard, *shape),
            dtype=dtype,
            fill_value=0,
            compressors=ZstdCodec(level=1),
        )


def write(folder: Path, first: int, shard: int, result: ShardResult) -> None:
    """One shard's arrays, on the disk when this returns; each file takes an older one's place at once."""
    maps, scale = _halved(result.maps)
    with zarr.config.set({"array.write_empty_chunks": True}):  # a file that is not there was lost
        held = {name: _array(folder, name, "r+") for name in NAMES}
    for name, values in (
        ("maps", maps),
        ("scale", scale),
        ("scores", result.scores),
        ("features", result.features),
    ):
        array = held[name]
        if values.shape[1:] != array.shape[1:]:
            raise BadInput(f"The {name} of a shard are {values.shape[1:]} a row, not {array.shape[1:]}.")
        whole = np.zeros((len(result.records), *array.shape[1:]), dtype=array.dtype)
        whole[result.readable] = values
        array[first : first + len(whole)] = whole
        synced(_place(folder, array, first // shard))


def _place(folder: Path, array: zarr.Array[Any], shard: int) -> Path:
    return folder / array.basename / "c" / "/".join([str(shard)] + ["0"] * (array.ndim - 1))


def _halved(maps: Floats) -> tuple[NDArray[np.float16], Floats]:
    """float16 maps of largest value 1, and what to multiply them with, (k,)."""
    if not len(maps):
        return maps.astype(np.float16), np.zeros(0, dtype=np.float32)
    scale = np.abs(maps).max((1, 2)).astype(np.float32)
    over = np.where(scale > 0, scale, 1)[:, None, None]
    return (maps / over).astype(np.float16), scale


def synced(path: Path) -> None:
    """Do not go on before the file and its place in the folder are on the disk."""
    for one in (path,) if os.name == "nt" else (path, path.parent):  # Windows opens no folders
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Stored:
    """Rows (n, …) of an array in the store: those that are asked for are read, and no more.

    where:  (n,) the place of each in the array, ascending.
    scaled: whether they are multiplied with their scale.
    owner:  of the folder, which is kept for as long as this is.
    """

    def __init__(
        self, folder: Path, name: str, where: NDArray[np.int64], *, scaled: bool = False, owner: object = None
    ):
        self.owner, self._folder = owner, folder
        self._array, self.where = _array(folder, name, "r"), where
        self._scale = Stored(folder, "scale", where) if scaled else None

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.where), *self._array.shape[1:]

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """As of an array in memory: by a number, a slice, numbers or a mask, and then by further axes."""
        if isinstance(rows, tuple):
            found = self[rows[0]]
            if isinstance(rows[0], slice):
                return found[:, *rows[1:]]
            return found[rows[1:]] if np.ndim(rows[0]) == 0 else found[np.arange(len(found)), *rows[1:]]
        places = self.where[rows]
        found = self._read(np.atleast_1d(places)).reshape((*np.shape(places), *self._array.shape[1:]))
        if self._scale is None:
            return found
        scale = np.asarray(self._scale[rows])
        return found.astype(np.float32) * scale.reshape(*scale.shape, *[1] * (found.ndim - scale.ndim))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def _read(self, places: NDArray[np.int64]) -> NDArray[Any]:
        if not places.size:
            return np.zeros((0, *self._array.shape[1:]), dtype=self._array.dtype)
        needed, back = np.unique(places, return_inverse=True)
        self._refuse_lost(needed)
        try:
            if needed[-1] - needed[0] + 1 == len(needed):
                found = np.asarray(self._array[int(needed[0]) : int(needed[-1]) + 1])
            else:
                found = np.asarray(self._array.oindex[needed])
        except (OSError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"The {self._array.basename} in '{self._folder}' are damaged, and cannot be read; {AGAIN}."
            ) from error
        return found[back.ravel()]

    def _refuse_lost(self, needed: NDArray[np.int64]) -> None:
        """What has no file would be read as zeros."""
        for shard in np.unique(needed // self._array.shards[0]):  # type: ignore[index]
            path = _place(self._folder, self._array, int(shard))
            if not path.exists():
                raise BadInput(f"'{path}' is not there any more, so the audit cannot be read; {AGAIN}.")


def _array(folder: Path, name: str, mode: Literal["r", "r+"]) -> zarr.Array[Any]:
    try:
        array = zarr.open_group(folder, mode=mode)[name]
        assert isinstance(array, zarr.Array)
    except (OSError, KeyError, ValueError, TypeError, AssertionError) as error:
        raise BadInput(
            f"The {name} in '{folder}' are not there any more, or are damaged; {AGAIN}."
        ) from error
    return array
