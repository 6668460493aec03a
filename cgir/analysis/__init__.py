"""Analysis of graphs: Weisfeiler-Lehman colours, hashes and kernels, spectra, properties, path features, diffs."""
