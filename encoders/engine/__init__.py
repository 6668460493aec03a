"""Message passing on classes of equal nodes: sparse products, segments, batches, streaming."""
