"""A campaign of hostile inputs: files and arguments made wrong at random, read by the library in a watched process."""
