"""Integration: from a start to rest or to a given time, one run or millions."""
