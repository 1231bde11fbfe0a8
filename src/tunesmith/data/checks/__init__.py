"""What is wrong with examples, without a model: small checks by theme, and `redact` for what must not be learned."""

from __future__ import annotations

from tunesmith.data.checks.redact import redact
from tunesmith.data.checks.run import check_examples

__all__ = ["check_examples", "redact"]
