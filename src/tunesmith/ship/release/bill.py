"""The bill of materials of a release as CycloneDX 1.6: the model with its files, its base as ancestor, data and libraries."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from tunesmith.core.records import canonical_json, digest
from tunesmith.ship.card.base import base_of
from tunesmith.ship.card.licences import UNKNOWN, Licence
from tunesmith.ship.card.material import FACTS, Material

if TYPE_CHECKING:
    from cyclonedx.model.license import DisjunctiveLicense

__all__ = ["bill_of_materials"]

_SPDX = {"Apache-2.0", "MIT", "CC-BY-SA-4.0", "CC-BY-4.0"}


def bill_of_materials(material: Material, name: str, files: Mapping[str, str]) -> bytes:
    """The bill as JSON. `files`: path in the release → SHA-256. The same input gives the same bytes."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType, Pedigree
    from cyclonedx.output.json import JsonV1Dot6

    def sha(content: str) -> list[HashType]:
        return [HashType(alg=HashAlgorithm.SHA_256, content=content)]

    base, run = base_of(material), material.parts["run"]
    base_id = next((one["id"] for one in run.at(FACTS, "inputs") if one["kind"] == "base"), "")
    ancestor = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=base.hub or base.name,
        bom_ref="base",
        hashes=sha(base_id) if base_id else [],
        licenses=_licences(base.licence),
        description="The base. Its hash is over the names and hashes of its files.",
    )
    verdict = str(material.at("eval", "verdict.json", "verdict") or "not measured")
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=name,
        version=run.id[:16],
        bom_ref="model",
        licenses=_licences(base.licence),
        pedigree=Pedigree(ancestors=[ancestor]),
        components=[
            Component(type=ComponentType.FILE, name=path, bom_ref=f"file:{path}", hashes=sha(content))
            for path, content in sorted(files.items())
            if not path.startswith(("provenance/", "writing/"))
        ],
        properties=[
            Property(name="tunesmith:run", value=run.id),
            Property(name="tunesmith:verdict", value=verdict),
        ],
    )
    bom = Bom(serial_number=uuid.UUID(digest(canonical_json([name, dict(files)]))[:32]))
    bom.metadata.component = model
    bom.metadata.timestamp = datetime.fromisoformat(str(run.at(FACTS, "created")))
    parts = []
    if (dataset := material.parts.get("dataset")) is not None:
        parts.append(
            Component(
                type=ComponentType.DATA,
                name="training, validation and test rows",
                version=dataset.id[:16],
                bom_ref="dataset",
                hashes=sha(dataset.id),
                description="The writing itself is not in the release unless its folder `writing` is there.",
            )
        )
    for library, version in sorted((run.at(FACTS, "libraries") or {}).items()):
        parts.append(Component(type=ComponentType.LIBRARY, name=library, version=str(version), bom_ref=f"pypi:{library}"))
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(model, parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on parts of which nothing is known to depend
        return JsonV1Dot6(bom).output_as_string(indent=2).encode() + b"\n"


def _licences(licence: Licence) -> list[DisjunctiveLicense]:
    from cyclonedx.model.license import DisjunctiveLicense

    if licence is UNKNOWN:
        return []
    return [DisjunctiveLicense(id=licence.id) if licence.id in _SPDX else DisjunctiveLicense(name=licence.id)]
