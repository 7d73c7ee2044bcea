"""The parts of `bench/compare`; see its head for the map."""
