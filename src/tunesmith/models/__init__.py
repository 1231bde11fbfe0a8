"""Weights and tokens: load a base, write its chat format, adapt it, merge it, generate text."""

import logging

# peft imports bitsandbytes, which then asks in every program for a kernel that is never used here (see `quantised`)
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
