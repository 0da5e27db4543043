"""approach."""
