"""Pictures of results: one page per kind of result object."""
