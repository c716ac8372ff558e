"""Work that several processes share without a word to each other."""


def part_of(items, part, run=1):
    """Takes what one of several processes is to do: runs of items, dealt out in turn.

    >>> part_of("abcdefg", (1, 3))
    ['b', 'e']
    >>> part_of("abcdefg", (0, 2), run=2)
    ['a', 'b', 'e', 'f']

    Args:
        items: Sequence, the same in every process.
        part: Which process this is, from 0, and how many there are.
        run: Items that stay together.

    Returns:
        List; empty where there are more processes than runs.
    """
    number, parts = part
    return [item for place, item in enumerate(items) if place // run % parts == number]
