"""Every attempt, from its submission to its last word."""
