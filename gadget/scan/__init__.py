"""One scan on its way: inspection, reconstruction stages, and saving of what failed."""
