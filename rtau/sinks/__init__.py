"""Where the rows of a run go: tables with their sidecar, and the drawn result."""
