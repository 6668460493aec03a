"""Published tables, reproduced from measured labels."""
