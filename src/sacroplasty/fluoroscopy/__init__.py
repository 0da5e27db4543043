"""fluoroscopy."""
