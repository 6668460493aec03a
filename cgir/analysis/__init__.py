"""What graphs have in common: colours, hashes, kernels, spectra, properties and path features."""
