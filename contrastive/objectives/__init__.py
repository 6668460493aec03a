"""Terms of the pretraining loss, and their weighted sum."""
