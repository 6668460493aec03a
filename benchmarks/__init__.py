"""Speed, memory and scores, measured: every module here writes its part of RESULTS.md."""
