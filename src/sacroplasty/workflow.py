"""The stages of a case, in order: the one list behind every door."""
