"""Kinds of runs that `dyn simulate` makes: when each is asked for, how it runs, and how its report reads."""
