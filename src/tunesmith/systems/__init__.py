"""What can be evaluated: one file a system. docs/concepts/systems.md says how to add one."""
