"""Files as they come and are kept: downloads, archives, checksums, listings, decoded images. Imports no torch."""
