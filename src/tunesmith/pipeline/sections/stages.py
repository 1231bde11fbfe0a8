"""Settings of a chain: stages that are trained one after the other, each on the merged model of the one before."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from tunesmith.core.settings import Section

__all__ = ["StageConfig", "StageName", "Then"]

StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Then = Literal["stop", "skip", "keep"]


class StageConfig(Section):
    """One stage of a chain. All other keys are settings of the recipe, which hold for this stage alone."""

    model_config = ConfigDict(extra="allow")

    skip: bool = False
    """Leave this stage out. The next one begins where this one would have begun."""
    on_no_help: Then = "stop"
    """What follows if this stage ends in DON'T SHIP. `stop`: no further stage is trained. `skip`: the next stage begins where
    this one began. `keep`: the next stage begins from this one all the same."""
    on_cant_tell: Then = "keep"
    """The same if it ends in CAN'T TELL."""

    @property
    def changes(self) -> dict[str, Any]:
        """The settings of the recipe that this stage writes."""
        return dict(self.model_extra or {})
