"""The demo's lesions, as a folder that an audit reads."""

import numpy as np
import pytest
from PIL import Image

from underhood.atomic import CannotWrite
from underhood.demo.dermoscopy import draw_set
from underhood.demo.factors import WITH_MALIGNANT
from underhood.demo.folder import Lesions, write_lesions


def test_the_folder_holds_the_set_in_classes_whoever_drew_it(tmp_path):
    one, two = (Lesions(tmp_path / name, 7, 5, WITH_MALIGNANT) for name in ("one", "two"))
    write_lesions(one, processes=1)
    write_lesions(two, processes=2)
    known = draw_set(7, 5, ruler=WITH_MALIGNANT)
    for lesions in (one, two):
        for number in range(7):
            label = "malignant" if known.malignant[number] else "benign"
            path = lesions.folder / label / f"lesion_{number:05}.png"
            assert np.array_equal(np.asarray(Image.open(path)), known.images[number])
        assert len(list(lesions.folder.rglob("*"))) == 7 + 2


def test_what_is_there_is_not_drawn_again(tmp_path):
    lesions = Lesions(tmp_path, 4, 5)
    write_lesions(lesions)
    kept = lesions.path(1).stat().st_mtime_ns
    lesions.path(2).unlink()
    told = []
    write_lesions(lesions, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 4)]
    assert lesions.path(2).exists()
    assert lesions.path(1).stat().st_mtime_ns == kept


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot be made"):
        write_lesions(Lesions(tmp_path / "file", 2, 5))
