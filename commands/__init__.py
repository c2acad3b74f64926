"""The commands of ``dyn``, one module each: read options, call the library, print tables or JSON.

Nothing heavy is imported until the command that needs it runs.
"""
