"""Names and constants of the layers, which the builder of graphs and the PyTorch networks share."""

LAYER_NAMES = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc")  # in the authors' order
SKIP = "skip"
GAT_HEADS = 2
GAT_SLOPE = 0.2
SOFTMAX_SHIFT = 1e-16  # added to the sum of exponentials, as torch_geometric does
