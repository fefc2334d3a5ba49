"""Values and ports that every other package stands on: instants, units, ids, chance, errors, protocols."""
