"""What graphs have in common: colours, hashes, kernels, spectra, properties, path features and differences."""
