"""Where results go: tables, their sidecar, overlays. Nothing appears under its final name before it is complete."""
