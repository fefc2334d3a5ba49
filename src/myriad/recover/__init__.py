"""When something fails: believe the evidence, find the culprit, try again, and how often to save."""
