"""The verbs of the command line: one module per verb, found by its name. Its docstring is the help, its `command` the flags.

A module imports what is heavy inside its functions, so that its own help answers at once.
"""
