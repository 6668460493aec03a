"""NAS-Bench-101 and NAS-Bench-1Shot1."""
