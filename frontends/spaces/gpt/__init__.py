"""Decoder-only language models as OpenLM builds them."""
