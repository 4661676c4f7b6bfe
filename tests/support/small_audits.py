"""A tiny model and tiny pictures in files, for the commands that audit."""

import numpy as np
from PIL import Image

from underhood.cli.app import underhood
from underhood.cli.errors import guarded

MODEL = """
import torch
from torch import nn

def build():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[{red}, 0, 0], [0, 0, 4.0]])[:, :, None, None])
        net[0].bias.zero_()
    return net
"""
PREPROCESS = ("--preprocess", "unit,size=16,crop=16")


def run(*arguments):
    """A command in this process; its exit code."""
    words = [str(one) for one in arguments]
    return guarded(lambda: underhood.main(words, standalone_mode=False))


def told(capsys, *arguments):
    """Exit code, what was printed, what was said of errors."""
    capsys.readouterr()  # what was said before
    code = run(*arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def model(folder, name="net", red=4.0):
    """Class 0 is how red a picture is on average, class 1 how blue."""
    (folder / f"{name}.py").write_text(MODEL.format(red=red))
    return f"file:{folder / name}.py:build"


def pictures(folder, each=6):
    """A folder for each class, of pictures that are plainly of it, each a little different."""
    for label, channel in (("blue", 2), ("red", 0)):
        (folder / label).mkdir(parents=True)
        for number in range(each):
            picture = np.full((16, 16, 3), 40, np.uint8)
            picture[..., channel] = 120 + number
            Image.fromarray(picture).save(folder / label / f"{number}.png")
    return folder


def names(folder):
    """The model's classes, in its order, as a file."""
    (folder / "names.txt").write_text("red\nblue\n")
    return "--classes", folder / "names.txt"
