"""What is whose: `count` things in a row are cut into as many shares as there are processes, as equal as can be, in the order of the ranks.

    share(7, 0, 3), share(7, 1, 3), share(7, 2, 3)        slice(0, 2), slice(2, 4), slice(4, 7)
"""


def share(count, rank, size):
    """The slice of `count` things that belongs to process number `rank` of `size`. Empty for some where there are fewer things than processes."""
    return slice(count * rank // size, count * (rank + 1) // size)


def share_sizes(count, size):
    """How much each of `size` processes has of `count` things."""
    parts = [share(count, rank, size) for rank in range(size)]
    return [part.stop - part.start for part in parts]
