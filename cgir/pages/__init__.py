"""Report pages of the commands: one style sheet, charts as SVG, one self-contained HTML page each."""
