"""The recipe: one declaration per setting, from which the YAML key, the `--set` path and the reference page all come."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr

from tunesmith.core.settings import Section
from tunesmith.pipeline.sections.dataset import BuildConfig, GeneratorConfig, MixConfig, SplitConfig, TemplateConfig
from tunesmith.pipeline.sections.documents import FetchConfig, IngestConfig
from tunesmith.pipeline.sections.eval import BiggerConfig, EvalConfig, GateConfig, JudgeConfig
from tunesmith.pipeline.sections.model import MergeConfig
from tunesmith.pipeline.sections.run import MethodConfig, ObjectiveConfig, TrainConfig
from tunesmith.pipeline.sections.serve import ServeConfig
from tunesmith.pipeline.sections.stages import StageConfig, StageName
from tunesmith.pipeline.sections.tracking import TrackingConfig
from tunesmith.pipeline.sections.use import UseConfig

__all__ = ["PRESETS", "Quality", "Recipe"]

Quality = Literal["draft", "good", "best"]


class Recipe(Section):
    """All settings of a project, from sources to verdict."""

    base: Annotated[str, Field(min_length=1)] = "auto"
    """The model to start from: a name in `tunesmith bases`, a folder, a GGUF file, or a Hugging Face id. `auto`: smollm2,
    fetched once and cached for all projects, or the embedded `apprentice` if smollm2 is not available."""
    sources: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Where your writing is: folders, files, addresses of feeds, sites or pages, or hf:OWNER/NAME for a hub data set."""
    me: str = ""
    """Your name in chat exports: your turns become the answers. Empty: chats are read as documents with all names replaced."""
    authors: list[str] = []
    """The authors whose texts are taken, by name, handle or mail address; texts by anyone else are left out and
    counted. Empty: everybody's; then several voices stop the build with a question. `"*"`: all of them."""
    quality: Quality = "good"
    """Preset for all settings that you do not write: `draft` is quick, `best` takes longer and trains more."""
    ingest: IngestConfig = IngestConfig()
    fetch: FetchConfig = FetchConfig()
    build: BuildConfig = BuildConfig()
    generator: GeneratorConfig = GeneratorConfig()
    split: SplitConfig = SplitConfig()
    mix: MixConfig = MixConfig()
    template: TemplateConfig = TemplateConfig()
    method: MethodConfig = MethodConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig = TrainConfig()
    merge: MergeConfig = MergeConfig()
    use: UseConfig = UseConfig()
    eval: EvalConfig = EvalConfig()
    bigger: BiggerConfig = BiggerConfig()
    judge: JudgeConfig = JudgeConfig()
    gates: GateConfig = GateConfig()
    tracking: TrackingConfig = TrackingConfig()
    serve: ServeConfig = ServeConfig()
    allow: list[str] = []
    """Names of blocking findings to ignore, such as `leak`, `cut` or `secrets`. The list is stored in manifests."""
    stages: dict[StageName, StageConfig] = {}
    """Stages that are trained one after the other, by name: each begins from the merged model of the one before and has a
    verdict of its own against it. A stage has the settings of the recipe and those that it writes. Empty: one run."""
    _written: frozenset[str] | None = PrivateAttr(default=None)
    _by_base: frozenset[str] = PrivateAttr(default=frozenset())
    _by_method: tuple[tuple[str, str], ...] = PrivateAttr(default=())
    _stage_recipes: tuple[tuple[str, Recipe], ...] = PrivateAttr(default=())

    @property
    def stage_recipes(self) -> Mapping[str, Recipe]:
        """The recipe of each stage by name, in order; none of them has stages."""
        return dict(self._stage_recipes)

    def with_stages(self, recipes: Mapping[str, Recipe]) -> Self:
        """A copy that holds the recipes of its stages."""
        copy = self.model_copy()
        copy._stage_recipes = tuple(recipes.items())
        return copy

    def has_written(self, name: str) -> bool:
        """Whether the setting `name` (`train.epochs`) was written by the user rather than set by a preset or default."""
        if self._written is not None:
            return name in self._written
        section, _, key = name.partition(".")
        return key in getattr(self, section).model_fields_set

    @property
    def by_base(self) -> Set[str]:
        """Names of settings whose values were chosen for this base."""
        return self._by_base

    @property
    def by_method(self) -> Mapping[str, str]:
        """Names of settings whose values were chosen for the training method, with the reason."""
        return dict(self._by_method)

    def marked(
        self,
        *,
        written: Set[str] | None = None,
        by_base: Set[str] | None = None,
        by_method: Mapping[str, str] | None = None,
    ) -> Self:
        """A copy that records which settings the user wrote and which were chosen for this base or for the method."""
        copy = self.model_copy()
        copy._by_method = self._by_method if by_method is None else tuple(by_method.items())
        copy._written = self._written if written is None else frozenset(written)
        copy._by_base = self._by_base if by_base is None else frozenset(by_base)
        return copy


PRESETS: dict[Quality, dict[str, dict[str, Any]]] = {
    "draft": {"train": {"epochs": 2.0}, "method": {"rank": 8, "alpha": 16.0}},
    "good": {},
    "best": {"train": {"epochs": 12.0, "patience": 8, "learning_rate": 7e-4}, "method": {"rank": 32, "alpha": 64.0}},
}
