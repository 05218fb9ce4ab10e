"""The exhibits: one file each, with its story, its wrong backward and, below a line, the repair."""
