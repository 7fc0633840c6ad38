"""What make_fixtures.py builds the fixtures from."""
