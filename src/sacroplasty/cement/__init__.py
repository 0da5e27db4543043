"""cement."""
