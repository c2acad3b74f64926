"""Other objectives on the same moments: what each learns, in which order and how large."""
