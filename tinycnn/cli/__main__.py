"""`python -m tinycnn.cli`, where the command `tinycnn` is not on the path."""
from . import main

main()
