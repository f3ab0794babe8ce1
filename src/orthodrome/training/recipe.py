"""A recipe: everything that decides a training run but the data. Typed, validated, the same in YAML and in Python.

An unknown key is an error with the nearest valid one. ``backbone`` and ``loss`` take the options of the network and the
hyper-parameters of the loss beside their name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from orthodrome.registry import near_matches
from orthodrome.types import InputError, Preprocessing


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and annotation is not bool and bool not in get_args(annotation):
            raise ValueError("true and false are no values of this key")
        return value


class _NamedSection(BaseModel):
    """A name and free options, which the thing of that name checks."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside the declared keys."""
        return dict(self.model_extra or {})


class BackboneSettings(_NamedSection):
    """A network of ``orthodrome.backbones.names()`` and its options."""

    name: str = "sfnet20"
    embedding_dim: int = Field(512, ge=2)

    @model_validator(mode="after")
    def _no_size_of_its_own(self) -> BackboneSettings:
        if "image_size" in self.options:
            raise ValueError("image_size is no option of a network; it follows from data.size and data.center_crop")
        return self


class LossSettings(_NamedSection):
    """A loss of ``orthodrome losses`` and its hyper-parameters."""

    name: str = "cosface"

    @model_validator(mode="after")
    def _no_keys_of_the_head(self) -> LossSettings:
        for key in self.options:
            if key in HeadSettings.model_fields:
                raise ValueError(f"{key} is a key of the section head, not of the loss")
            if key in ("num_classes", "embedding_dim", "process_group"):
                raise ValueError(f"{key} is no hyper-parameter of a loss; it follows from data and network")
        return self


class HeadSettings(_Section):
    """How the classes are held, see :class:`orthodrome.ProxyHead`: none of it changes the loss but ``sample_rate``.

    With a ``sample_rate`` below 1 the classes that are not drawn are not touched by the optimizer. Where there are several processes the
    classes are split over them, unless ``sharded`` is false: then each holds all of them.
    """

    impl: Literal["auto", "dense", "chunked"] = "auto"
    chunk_size: int | None = Field(None, ge=1)
    compute_dtype: Literal["bf16"] | None = None
    filter_below: float = Field(0.0, ge=0, lt=1)
    sample_rate: float = Field(1.0, gt=0, le=1)
    sharded: bool = True
    init: Literal["normal", "xavier"] = "normal"

    @property
    def options(self) -> dict[str, Any]:
        """What departs from the defaults."""
        return self.model_dump(exclude_defaults=True)


class AugmentationSettings(_Section):
    """What is done to training images, and how strongly, see :class:`orthodrome.data.Augmentation`; 0 leaves a step out."""

    flip: float = Field(0.5, ge=0, le=1)
    shift: int = Field(0, ge=0)
    rotate: float = Field(0.0, ge=0, le=180)
    zoom: float = Field(0.0, ge=0, lt=1)
    random_crop: float = Field(0.0, ge=0, lt=1)
    crop: float = Field(0.0, ge=0, le=1)
    photometric: float = Field(0.0, ge=0, le=1)
    low_resolution: float = Field(0.0, ge=0, le=1)
    erase: float = Field(0.0, ge=0, le=1)
    cutout: float = Field(0.0, ge=0, le=1)

    @property
    def augmentation(self) -> dict[str, Any]:
        """Strength by name."""
        return {name: getattr(self, name) for name in AugmentationSettings.model_fields}


class DataSettings(AugmentationSettings):
    """What the network sees. ``size`` is a side or [height, width], to which whole images are resized; ``center_crop``, likewise, is the
    size of their middle, to which the network is confined after the augmentation. Pixels become ``(x − mean)/std``. The strengths of
    the augmentation are keys of this section too.

    ``quarantine`` is the share of the set that may be left out because it cannot be used; each such item is reported.

    ``sampler: identities`` draws ``people`` × ``images_per_person`` a batch, as pair losses need; then ``batch_size`` is their product.
    ``balanced`` draws every person alike, ``square_root`` in proportion to the root of their images, for long-tailed sets.
    """

    size: int | tuple[int, int] = 112
    center_crop: int | tuple[int, int] | None = None
    mean: float = 127.5
    std: float = Field(127.5, gt=0)
    template: str = "none"
    cache: Literal["auto", "disk"] | bool = "auto"
    workers: int | None = Field(None, ge=0)
    sampler: Literal["uniform", "identities", "balanced", "square_root"] = "uniform"
    people: int = Field(32, ge=2)
    images_per_person: int = Field(4, ge=1)
    quarantine: float = Field(0.001, ge=0, le=1)

    @property
    def height_and_width(self) -> tuple[int, int]:
        """``size`` as (height, width)."""
        return _height_and_width(self.size)

    @property
    def preprocessing(self) -> Preprocessing:
        """What is part of the model."""
        crop = None if self.center_crop is None else _height_and_width(self.center_crop)
        return Preprocessing(self.height_and_width, "RGB", self.mean, self.std, self.template, crop)


def _height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


class OptimizerSettings(_Section):
    """``weight_decay`` acts on weights of convolutions, linear layers and proxies, never on biases, norms, slopes and scalars.

    ``clip_norm`` clips the norm of all gradients together; ``head_rate`` multiplies the learning rate of the head.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(5e-4, ge=0)
    clip_norm: float | None = Field(None, gt=0)
    head_rate: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _as_the_optimizers_take_them(self) -> OptimizerSettings:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1; got {self.betas}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class ScheduleSettings(_Section):
    """Learning rate over the run: linear warm-up over ``warmup_epochs``, then ``name``, down to ``final`` times the learning rate.

    ``step`` multiplies by ``gamma`` at each epoch of ``milestones``; ``poly`` falls as (1 − progress)^``power``.
    """

    name: Literal["cosine", "poly", "step", "constant"] = "cosine"
    epochs: int = Field(16, ge=1)
    warmup_epochs: float = Field(0.0, ge=0)
    final: float = Field(0.0, ge=0, le=1)
    power: float = Field(2.0, gt=0)
    milestones: tuple[float, ...] = ()
    gamma: float = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> ScheduleSettings:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be below epochs; got {self.warmup_epochs} of {self.epochs}")
        if self.name == "step" and not self.milestones:
            raise ValueError("schedule 'step' needs milestones, the epochs at which the rate drops")
        return self


class EvaluationSettings(_Section):
    """Every ``every`` epochs, and after the last one. ``flip``: how image and mirror image are joined."""

    every: int = Field(1, ge=1)
    flip: Literal["sum", "concat", "none"] = "sum"


class LogSettings(_Section):
    """A line in ``log.jsonl`` each ``every`` steps; ``tensorboard`` writes event files too (extra ``tensorboard``)."""

    every: int = Field(50, ge=1)
    tensorboard: bool = False


class Recipe(_Section):
    """One training run. The defaults train a SphereFace-20 with CosFace.

    ``batch_size`` counts the images of a step, all processes together; ``sync_batch_norm`` makes batch normalisation look at all of them.
    ``compile`` fuses the layers of the network by torch.compile, which costs the first step a minute or less.
    """

    name: str = "run"
    seed: int = Field(0, ge=0)
    deterministic: bool = False
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    sync_batch_norm: bool = False
    batch_size: int = Field(128, ge=1)
    checkpoint_every: int = Field(1000, ge=1)
    backbone: BackboneSettings = BackboneSettings()
    loss: LossSettings = LossSettings()
    head: HeadSettings = HeadSettings()
    data: DataSettings = DataSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    log: LogSettings = LogSettings()

    def to_yaml(self) -> str:
        """The recipe with every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file (None: all defaults) with ``a.b=c`` overrides laid over it; values are read as YAML.

    Raises InputError for a file that is not there or not YAML, an unknown key (with the nearest valid one), or a wrong value.
    """
    content = read_yaml(path) if path else {}
    for override in overrides:
        _override(content, override)
    return parse_recipe(content, str(path) if path else "recipe")


class _Yaml(yaml.SafeLoader):
    """Takes ``1e-3`` for a number, as YAML 1.2 does; YAML 1.1 wants ``1.0e-3``."""


_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+\Z"), list("-+.0123456789"))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Yaml)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the recipe cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if content is not None and not isinstance(content, dict):
        raise InputError(f"{path}: a recipe is a mapping of keys to values; got {type(content).__name__}")
    return content or {}


def parse_recipe(content: dict[str, Any], where: str) -> Recipe:
    """Validate a mapping; every mistake is reported at once."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: " + "; ".join(_explain(problem) for problem in error.errors())) from None


def _override(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set takes key=value, for example optimizer.learning_rate=0.05; got {override!r}")
    try:
        parsed = yaml.load(value, _Yaml)  # a SafeLoader
    except yaml.YAMLError:
        raise InputError(f"--set {override}: {value!r} is not a YAML value") from None
    set_key(content, key, parsed, f"--set {override}")


def set_key(content: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set ``a.b.c`` in nested mappings, making those that are not there. Raises InputError where a or b is a value."""
    *parents, last = key.split(".")
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise InputError(f"{where}: {parent!r} is a value, not a section")
    section[last] = value


def _explain(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = [*_keys(Recipe), *_free_keys()]
        homes = [other for other in known if other.rpartition(".")[2] == location[-1]]
        return f"unknown key {key!r}.{near_matches(key, homes or known)}"
    given = f"; got {problem['input']!r}" if location else ""
    return f"{key or 'recipe'}: {problem['msg'].removeprefix('Value error, ')}{given}"


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _keys(field.annotation, f"{prefix}{name}.")
    return keys


def _free_keys() -> list[str]:
    """What any loss takes in the section ``loss``, and any network in ``backbone``."""
    from orthodrome import backbones, losses

    hyper = {key for name in (*losses.proxy_names(), *losses.pair_names()) for key in losses.get(name).defaults}
    options = {option for name in backbones.names() for option in backbones.option_names(name)}
    return [*(f"loss.{key}" for key in hyper), *(f"backbone.{option}" for option in options)]
