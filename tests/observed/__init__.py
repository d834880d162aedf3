"""What is measured of a consumer, where it ends up: the stores, and a load that gives them something to show."""
