"""Official sets to evaluate on, a file each: ``load(place, classes)`` gives the set; the file's name is the set's."""
