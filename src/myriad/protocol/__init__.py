"""The conversation. Inputs go into the core, facts and orders come out; facts alone are journalled."""
