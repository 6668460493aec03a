"""The unlabelled corpus that the shipped encoder is pretrained on."""
