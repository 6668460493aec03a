"""Plain and residual convolutional networks: NAAP-440, MetaQNN, ResNets for small images."""
