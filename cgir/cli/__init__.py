"""The command line, one file a command: `add_arguments` declares its options, `run` carries it out."""
