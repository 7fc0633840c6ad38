"""Photos on the map: whose pose, which camera over which ground, what is written of it."""
