"""What exists in the world. Every number carries its unit (in the name), status and source."""
