"""Fixed points, of one mode and of the network, and how they change with a parameter."""
