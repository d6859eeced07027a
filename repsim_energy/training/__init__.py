"""How a run trains, and where it is kept."""
