"""Programs compiled for a device that is not here, and what can be read of them."""
