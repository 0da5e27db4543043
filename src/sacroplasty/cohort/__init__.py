"""The same workflow over many cases. Nothing stands here yet; the command line runs one case at a time."""
