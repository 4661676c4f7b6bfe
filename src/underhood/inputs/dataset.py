"""`Dataset`: pictures with what is known of each: label, split, metadata, mask of the subject."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from underhood.errors import BadInput, InvalidArgument
from underhood.inputs.images import picture_size, read_picture


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a data set; nothing of it is read before it is needed.

    source:   a path, a picture (H, W, 3) uint8, or a tensor (C, H, W) as the network takes it.
    mask:     of the subject, what a right decision looks at: a path, or (H, W) bool; None where not known.
    split:    such as "train" or "test"; metadata: further columns, as they were written.
    """

    number: int
    name: str
    source: Any
    label: str | None = None
    split: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    mask: Any = None

    def read_mask(self) -> NDArray[np.bool_] | None:
        """(H, W), in the picture's own proportions; None where there is none."""
        if self.mask is None:
            return None
        if isinstance(self.mask, str | Path):
            values = np.asarray(read_picture(self.mask).convert("L"))
            self._check_proportions(values.shape)
        else:
            values = np.asarray(self.mask)
        if values.dtype == np.bool_:
            return values
        return values > (127 if values.max() > 127 else 0)  # some write 1, or the number of a class, for 255

    def _check_proportions(self, mask: tuple[int, int]) -> None:
        """Smaller or larger than the picture is well, but not another shape; sides may be rounded."""
        if not isinstance(self.source, str | Path):
            return
        height, width = picture_size(self.source)
        if abs(mask[0] - mask[1] * height / width) > 1 + height / width:
            raise BadInput(
                f"The mask of '{self.name}' is {mask[1]} × {mask[0]} pixels and the picture {width} × "
                f"{height}; give masks of the pictures' own proportions."
            )


@dataclass(frozen=True)
class Dataset(Sequence[Row]):
    """Rows in a fixed order, and what had to be left out.

    name:     of the folder, or what the user called it.
    problems: a sentence for each thing that was left out, such as a label without a picture.
    loaded:   the paths it was read from, as `as_dataset` takes them (data, labels, metadata, masks); empty
              where it was given.
    """

    rows: Sequence[Row]
    name: str = "data"
    problems: tuple[str, ...] = ()
    loaded: Mapping[str, str] = field(default_factory=dict)

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Row]: ...
    def __getitem__(self, key: int | slice) -> Row | Sequence[Row]:
        return self.rows[key]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that occur, sorted."""
        return tuple(sorted({row.label for row in self.rows if row.label is not None}))

    @classmethod
    def from_folder(
        cls, path: str | Path, *, metadata: str | Path | None = None, masks: str | Path | None = None
    ) -> "Dataset":
        """From a folder with a folder for each class; pictures lie in it at any depth.

        Where every folder of the first level is called train, training, val, valid, validation, dev, test or
        testing, these are the splits, and the classes are the folders within. Pictures in no class folder
        are left out, unless none is in any: then all are kept, without labels.

        metadata: a table (csv) with a column for the picture (file, image, name, …); its others are kept as
                  text, and one called split becomes the split as well.
        masks:    a folder of masks of the subject, in white, with the pictures' names, or these and _mask.
        """
        from underhood.inputs.dataset_files import Beside, from_folder

        return from_folder(path, Beside(metadata, masks))

    @classmethod
    def from_table(
        cls,
        images: str | Path,
        labels: str | Path,
        *,
        metadata: str | Path | None = None,
        masks: str | Path | None = None,
    ) -> "Dataset":
        """From a folder of pictures and a table (csv) with their labels.

        labels: has a header, a column for the picture (file, image, name, …) and one for the label (label,
                class, dx, …); a third may be called split, and others are kept as metadata. Names may leave
                out the suffix and the folder. Pictures it does not name are left out.

        metadata and masks as in `from_folder`.
        """
        from underhood.inputs.dataset_files import Beside, from_table

        return from_table(images, labels, Beside(metadata, masks))

    @classmethod
    def of(
        cls,
        pictures: Sequence[Any],
        labels: Sequence[str | None] | None = None,
        *,
        masks: Sequence[Any] | None = None,
        metadata: Sequence[Mapping[str, str]] | None = None,
        splits: Sequence[str] | None = None,
        name: str = "data",
    ) -> "Dataset":
        """From pictures in memory, (n, H, W, 3) uint8 or tensors (n, C, H, W), with their labels."""
        count = len(pictures)
        if not count:
            raise InvalidArgument("There are no pictures in the data set.")
        given = {"labels": labels, "masks": masks, "metadata": metadata, "splits": splits}
        for what, values in given.items():
            if values is not None and len(values) != count:
                raise BadInput(f"There are {count} pictures and {len(values)} {what}; give one for each.")
        return cls(
            [
                Row(
                    number,
                    f"picture {number}",
                    pictures[number],
                    None if labels is None or labels[number] is None else str(labels[number]),
                    None if splits is None else splits[number],
                    {} if metadata is None else metadata[number],
                    None if masks is None else masks[number],
                )
                for number in range(count)
            ],
            name,
        )
