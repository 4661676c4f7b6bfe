"""Loading a model by every scheme, and the sentences where it cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.support.toys import CN, ML
from tests.support.untrained import untrained
from underhood.errors import BadModel, BadWeights, InvalidArgument, MissingExtra, UnderhoodError, UnknownName
from underhood.models import Model, Preprocess, load
from underhood.models.schemes.library import library

PICTURE = Image.new("RGB", (300, 250), (90, 120, 150))


# -- libraries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("torchvision:squeezenet1_1", "tabby"),
        ("timm:test_vit", "tabby"),
        ("torchvision:googlenet", "tabby"),
    ],
)
def test_an_architecture_with_weights_from_a_file(tmp_path: Path, source: str, label: str) -> None:
    pytest.importorskip(source.partition(":")[0])
    given = untrained(source, seed=1)
    save_file(given.module.state_dict(), tmp_path / "weights.safetensors")
    model = load(source, weights=tmp_path / "weights.safetensors")
    assert model.digest == given.digest
    assert model.name == source
    assert model.labels is not None
    assert len(model.labels) == 1000
    assert label in model.labels[281]
    prediction = model.predict(PICTURE)
    assert not isinstance(prediction, list)
    assert prediction.scores.shape == (1000,)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    torch.save(CN().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(BadWeights, match=r"does not fit this architecture: 52 missing \(.*unexpected \(conv"):
        load("torchvision:squeezenet1_1", weights=tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("resnet18", InvalidArgument, "write a scheme and a name"),
        ("torchvision:", InvalidArgument, "write a scheme and a name"),
        ("torchvison:resnet18", UnknownName, "did you mean 'torchvision'"),
        ("torchvision:resnet81", UnknownName, "'resnet18'"),
        ("torchvision:fasterrcnn_resnet50_fpn", UnknownName, "no torchvision classifier"),
        ("timm:vit_tiny_patch16_242", UnknownName, "did you mean 'vit_tiny_patch16_224'"),
        ("hf:/no/such/folder", BadModel, "could not be loaded: .*hf:FOLDER"),
        ("demo:honset", UnknownName, "did you mean 'honest'"),
        ("file:no_such_file.py:build", InvalidArgument, "there is no file 'no_such_file.py'"),
        ("file:build.py", InvalidArgument, "must be file:PATH.py:FUNCTION"),
    ],
)
def test_a_source_that_leads_nowhere_is_refused(source: str, error: type[UnderhoodError], words: str) -> None:
    scheme = source.partition(":")[0]
    if scheme in ("torchvision", "timm", "hf"):
        pytest.importorskip({"hf": "transformers"}.get(scheme, scheme))
    with pytest.raises(error, match=words):
        load(source)


def test_a_library_that_does_not_load_is_told_from_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "brokenlib.py").write_text("raise RuntimeError('operator x::y does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"installed, but does not load here \(RuntimeError: operator x"):
        library("brokenlib", "timm")
    with pytest.raises(MissingExtra, match=r"'nosuchlib', which is not installed"):
        library("nosuchlib", "timm")


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"'timm', which is not installed.*underhood\[timm\]"):
        load("timm:resnet18")


# -- transformers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image classifier of transformers with its processor, as save_pretrained leaves them."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hf")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label={0: "cat", 1: "dog", 2: "horse"},
        label2id={"cat": 0, "dog": 1, "horse": 2},
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_a_transformers_folder_is_loaded_with_its_processor_and_labels(hf_folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = load(f"hf:{hf_folder}")
    assert model.labels == ("cat", "dog", "horse")
    assert model.preprocess is not None
    processor = transformers.AutoImageProcessor.from_pretrained(hf_folder)
    theirs = processor(PICTURE, return_tensors="pt")["pixel_values"]
    assert torch.allclose(model.preprocess(PICTURE)[None], theirs, atol=2 / 255 / 0.5)
    network = transformers.AutoModelForImageClassification.from_pretrained(hf_folder).eval()
    prediction = model.predict(model.preprocess(PICTURE))
    assert not isinstance(prediction, list)
    with torch.no_grad():
        expected = network(model.preprocess(PICTURE)[None]).logits[0]
    assert torch.allclose(torch.from_numpy(prediction.scores), expected, atol=1e-5)


@pytest.mark.parametrize("shown", [True, False])
def test_transformers_bars_are_silent_where_redirected_and_then_as_they_were(
    hf_folder: Path, shown: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    logging = pytest.importorskip("transformers").utils.logging
    before = logging.is_progress_bar_enabled()
    set_to = {True: logging.enable_progress_bar, False: logging.disable_progress_bar}
    set_to[shown]()
    try:
        load(f"hf:{hf_folder}")
        assert logging.is_progress_bar_enabled() == shown
        assert not capfd.readouterr().err
    finally:
        set_to[before]()


def test_a_transformers_configuration_takes_weights_from_a_file(hf_folder: Path) -> None:
    given = load(f"hf:{hf_folder}")
    assert load(f"hf:{hf_folder}", weights=hf_folder / "model.safetensors").digest == given.digest
    torch.save(given.module.state_dict(), hf_folder / "own.pt")  # where names may be newer than in files
    assert load(f"hf:{hf_folder}", weights=hf_folder / "own.pt").digest == given.digest


def test_a_transformers_model_takes_no_other_weights(hf_folder: Path, tmp_path: Path) -> None:
    state = load_file(hf_folder / "model.safetensors")
    state["extra.weight"] = state.pop("classifier.weight")
    save_file(state, tmp_path / "other.safetensors")
    words = r"1 missing \(classifier\.weight\); 1 unexpected \(extra\.weight\)"
    with pytest.raises(BadWeights, match=words):
        load(f"hf:{hf_folder}", weights=tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("ViT", {"size": {"height": 32, "width": 48}}),
        ("Bit", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 24}}),
        (
            "DeiT",
            {"size": {"height": 36, "width": 36}, "crop_size": {"height": 32, "width": 32}},
        ),
        ("ConvNext", {"size": {"shortest_edge": 33}}),  # resized to 33 / 0.875, cut off, then cropped
        ("ConvNext", {"size": {"shortest_edge": 384}}),  # squashed, from 384 on
        ("Beit", {"size": {"height": 32, "width": 32}, "do_normalize": False}),
    ],
)
def test_a_transformers_processors_pixels(hf_folder: Path, family: str, settings: dict[str, Any]) -> None:
    """Within 2 of 255 grey levels: their resampling of tensors rounds differently from Pillow's."""
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, f"{family}ImageProcessor")(**settings)
    folder = hf_folder.parent / f"{family}-{len(json.dumps(settings))}"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(hf_folder / name)
    processor.save_pretrained(folder)
    model = load(f"hf:{folder}")
    assert model.preprocess is not None
    x, y = torch.meshgrid(torch.linspace(0, 255, 300), torch.linspace(0, 9, 200), indexing="ij")
    waves = torch.stack([x, 127 + 100 * torch.sin(y), 255 - x], -1).to(torch.uint8).numpy()
    picture = Image.fromarray(waves)
    theirs = processor(picture, return_tensors="pt")["pixel_values"]
    ours = model.preprocess(picture)[None]
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) < 2 / 255 / min(model.preprocess.std) + 1e-4


# -- files -------------------------------------------------------------------------------------------

SCRIPT = """
import torch
from neighbour import WIDTH

def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(WIDTH, 2))

def full():
    from underhood import Model
    return Model(build(), labels=["no", "yes"])

def broken():
    raise RuntimeError("the disk is upside down")

def nonsense():
    return 5
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("WIDTH = 3 * 224 * 224")
    (tmp_path / "my_model.py").write_text(SCRIPT)
    return tmp_path / "my_model.py"


def test_a_function_in_a_file_builds_a_module(script: Path) -> None:
    model = load(f"file:{script}:build", labels=["no", "yes"])
    assert model.name == "file:my_model.py:build"
    assert model.input_shape == (3, 224, 224)
    assert any("ImageNet's is assumed" in note for note in model.notes)
    prediction = model.predict(PICTURE)
    assert not isinstance(prediction, list)
    assert prediction.label in ("no", "yes")


def test_a_function_in_a_file_builds_a_model(script: Path) -> None:
    assert load(f"file:{script}:full").labels == ("no", "yes")


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        ("biuld", UnknownName, "no function in my_model.py named 'biuld'; did you mean 'build'"),
        ("WIDTH", UnknownName, "no function in my_model.py"),
        ("broken", BadModel, r"my_model.py:broken\(\) failed: RuntimeError: the disk is upside down\."),
        ("nonsense", BadModel, "returned int"),
    ],
)
def test_a_function_that_builds_nothing_is_refused(
    script: Path, function: str, error: type[UnderhoodError], words: str
) -> None:
    with pytest.raises(error, match=words):
        load(f"file:{script}:{function}")


def test_a_file_that_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_package")
    with pytest.raises(BadModel, match=r"Importing bad\.py failed: ModuleNotFoundError: No module named"):
        load(f"file:{tmp_path / 'bad.py'}:build")


# -- objects -----------------------------------------------------------------------------------------


def test_any_module_is_a_model() -> None:
    model = load(ML(), preprocess=Preprocess(crop=8), labels=["a", "b"])
    assert (model.name, model.labels, model.input_shape) == ("ML", ("a", "b"), (3, 8, 8))


def test_a_model_is_taken_with_changes() -> None:
    changed = load(Model(CN(), labels=["a"] * 4), labels=["b"] * 4, layer="conv", preprocess="unit,crop=4")
    assert (changed.labels, changed.layer, changed.input_shape) == (("b",) * 4, "conv", (3, 4, 4))


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(BadModel, match=r"must be a torch\.nn\.Module, not an object of type int"):
        Model(5)  # type: ignore[arg-type]


def test_labels_must_be_as_many_as_the_outputs() -> None:
    with pytest.raises(InvalidArgument, match="3 labels, but the model has 2 outputs"):
        _explain(Model(ML(), labels=["a", "b", "c"]))


def _explain(model: Model) -> None:
    from underhood.methods import Saliency

    Saliency()(model, torch.ones(3), 0)


# -- wrappers ----------------------------------------------------------------------------------------


class OneByOne(nn.Module):
    """One output per input, without its dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)


def test_wrappers_are_looked_through() -> None:
    net = CN()
    for wrapped in (
        nn.DataParallel(net),
        torch.compile(net),
        nn.DataParallel(torch.compile(net)),  # type: ignore[arg-type]
        torch.compile(nn.DataParallel(net)),
    ):
        model = Model(wrapped)  # type: ignore[arg-type]
        assert model.module is net
        assert list(model.layers) == ["conv", "relu1", "linear", "relu2"]
        assert model.name == "CN"


def test_a_model_with_one_output_predicts_by_its_sigmoid() -> None:
    prediction = Model(OneByOne()).predict(torch.tensor([1.0, 1.0]))
    assert not isinstance(prediction, list)
    assert (prediction.index, prediction.label) == (0, "output")
    assert not prediction.has_classes
    assert prediction.top()[0][1] == pytest.approx(0.8808, abs=1e-4)


def test_a_module_is_left_as_it_was() -> None:
    net = CN().train()
    before = {name: id(tensor) for name, tensor in net.named_parameters()}
    Model(net).predict(CN.x0())
    assert net.training
    assert {name: id(tensor) for name, tensor in net.named_parameters()} == before
    assert all(not module._forward_hooks for module in net.modules())
