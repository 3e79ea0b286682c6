"""The feed: AUs for other programs over ZeroMQ (docs/feed.md). Importable without any engine."""
