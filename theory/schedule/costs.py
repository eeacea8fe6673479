"""Cost of a call of the paper's Flexi-UNet, counted over the layers that the call runs.

The network is that of Mukhopadhyay et al., Scale Space Diffusion (CVPR 2026): 128 base channels,
two residual blocks a level, attention at two levels. Counted are convolutions, linear layers and
the two products of attention, 2 FLOP per multiply-add; normalization, activations and resizing are
not.
"""

from collections.abc import Sequence

from ..support.errors import InputError

# Image size → channel multiplier per level, from full resolution down.
PAPER_MULTIPLIERS: dict[int, tuple[float, ...]] = {
    32: (1, 2, 4),
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}
BASE_CHANNELS = 128
BLOCKS_PER_LEVEL = 2
ATTENTION_RESOLUTIONS = (16, 8)  # of the sizes in PAPER_MULTIPLIERS


def paper_architecture(image_size: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Channel multipliers, and resolutions with attention, of the network for an image size.

    Sizes that the paper does not list take the network of the nearest listed size at or below
    (below 32: that of 32), with attention at the same levels, less the levels to which the size
    cannot be halved.

    Parameters
    ----------
    image_size : int
        Full resolution in pixels, at least 1.

    Returns
    -------
    multipliers : tuple of float
        Channel multiplier of each level, from full resolution down.
    attention : tuple of int
        Resolutions of the levels with attention, in pixels.

    Raises
    ------
    InputError
        If ``image_size`` is not positive.
    """
    if image_size < 1:
        raise InputError(f"image_size is {image_size}; give a positive number of pixels.")
    listed = max((size for size in PAPER_MULTIPLIERS if size <= image_size), default=32)
    multipliers = PAPER_MULTIPLIERS[listed]
    while image_size % 2 ** (len(multipliers) - 1):
        multipliers = multipliers[:-1]
    attention = tuple(
        image_size >> level
        for level in range(len(multipliers))
        if listed >> level in ATTENTION_RESOLUTIONS
    )
    return multipliers, attention


def network_levels(image_size: int) -> int:
    """Number of resolutions R, R/2, … that the network for an image size reads and writes."""
    return len(paper_architecture(image_size)[0])


def network_size(side: int) -> int:
    """Largest image size up to ``side`` that can be halved once per level of its network.

    A multiple of 4 from 4 pixels, of 8 from 64, of 16 from 128, of 32 from 256; 96 for 100.
    """
    listed = max((size for size in PAPER_MULTIPLIERS if size <= side), default=32)
    step = 2 ** (len(PAPER_MULTIPLIERS[listed]) - 1)
    while step > side:
        step //= 2
    return side // step * step


def forward_flops(image_size: int, resolution_in: int, resolution_out: int) -> float:
    """Cost of one forward call of the paper's network for one image, in FLOP.

    The call enters the encoder at ``resolution_in`` and leaves the decoder at ``resolution_out``.
    As in the paper's implementation a change into full resolution runs the whole network on the
    input resized up, and the last decoder block of the output level is never run. Levels below the
    network's deepest are counted as more levels of its deepest width, without attention.

    Parameters
    ----------
    image_size : int
        Full resolution in pixels; see `paper_architecture` for the network.
    resolution_in : int
        Resolution of the state, ``image_size / 2^i`` pixels.
    resolution_out : int
        Resolution of the prediction, ``image_size / 2^j`` pixels with ``j ≤ i``.

    Returns
    -------
    float
        FLOP per image, 2 per multiply-add.

    Raises
    ------
    InputError
        If a resolution is not reached by halving ``image_size``, or the output is smaller than the
        input.
    """
    return _call_flops(image_size, resolution_in, resolution_out, _depth(image_size, resolution_in))


def cost_table(levels: Sequence[int]) -> dict[tuple[int, int], float]:
    """Cost of every call that a schedule over ``levels`` can make, in FLOP per image.

    Parameters
    ----------
    levels : sequence of int
        Resolutions in pixels; the first is the image size, the others are halvings of it.

    Returns
    -------
    dict
        ``{(resolution in, resolution out): FLOP}`` for all pairs of levels in which the output is
        not smaller than the input, counted on one network (`forward_flops`).

    Raises
    ------
    InputError
        If there are no levels, or one is not a halving of the first.
    """
    if len(levels) == 0:
        raise InputError("no levels were given; list resolutions from full down, such as 64, 32.")
    full = int(levels[0])
    depth = max(_depth(full, int(level)) for level in levels)
    return {
        (int(small), int(large)): _call_flops(full, int(small), int(large), depth)
        for small in levels
        for large in levels
        if small <= large
    }


def chain_costs(levels: Sequence[int]) -> tuple[str, dict[tuple[int, int], float]]:
    """Relative cost of every call that a schedule over ``levels`` can make, and what was counted.

    Parameters
    ----------
    levels : sequence of int
        Resolutions in pixels, from full resolution down.

    Returns
    -------
    model : str
        "FLOP of the paper's network" where the levels are halvings, else "pixels" (of the
        prediction).
    table : dict
        ``{(resolution in, resolution out): cost}``, in full-resolution calls.
    """
    if all(is_halving(levels[0], level) for level in levels):
        model, table = "FLOP of the paper's network", cost_table(levels)
    else:
        model, table = "pixels", {(r, q): float(q**2) for r in levels for q in levels if r <= q}
    full = table[levels[0], levels[0]]
    return model, {pair: cost / full for pair, cost in table.items()}


def _depth(image_size: int, resolution: int) -> int:
    """Levels of the network for ``image_size``, extended so that ``resolution`` is one."""
    multipliers, _ = paper_architecture(image_size)
    return max(len(multipliers), _level(image_size, resolution) + 1)


def is_halving(image_size: int, resolution: int) -> bool:
    """Whether ``resolution`` is ``image_size`` halved a whole number of times, or not at all."""
    return resolution > 0 and resolution << _halvings(image_size, resolution) == image_size


def _halvings(image_size: int, resolution: int) -> int:
    return max((image_size // resolution).bit_length() - 1, 0)


def _level(image_size: int, resolution: int) -> int:
    """Number of halvings from ``image_size`` to ``resolution``."""
    if not is_halving(image_size, resolution):
        raise InputError(
            f"resolution {resolution} is not {image_size} halved a whole number of times; "
            "use levels such as R, R/2, R/4."
        )
    return _halvings(image_size, resolution)


def _call_flops(image_size: int, resolution_in: int, resolution_out: int, depth: int) -> float:
    if resolution_in > resolution_out:
        raise InputError(
            f"resolution_out {resolution_out} is below resolution_in {resolution_in}; "
            "a call keeps or raises the resolution."
        )
    multipliers, attention = paper_architecture(image_size)
    multipliers += (multipliers[-1],) * (depth - len(multipliers))
    widths = [int(BASE_CHANNELS * multiplier) for multiplier in multipliers]
    pixels = [(image_size >> level) ** 2 for level in range(depth)]
    attends = [image_size >> level in attention for level in range(depth)]
    end = _level(image_size, resolution_out)
    start = end if end == 0 else _level(image_size, resolution_in)
    emb = 4 * BASE_CHANNELS

    def conv(size: int, c_in: int, c_out: int, level: int) -> int:
        return size**2 * c_in * c_out * pixels[level]

    def residual(c_in: int, level: int) -> int:
        c_out = widths[level]
        residual_conv = conv(1, c_in, c_out, level) if c_in != c_out else 0
        embedding = emb * 2 * c_out
        return (
            conv(3, c_in, c_out, level) + conv(3, c_out, c_out, level) + residual_conv + embedding
        )

    def attend(level: int) -> int:
        projections = conv(1, widths[level], 4 * widths[level], level)
        return projections + 2 * pixels[level] ** 2 * widths[level]

    def adapter(c_in: int, c_out: int, level: int) -> int:
        return conv(1, c_in, c_out, level) if c_in != c_out else 0

    # Multiply-adds: time embedding, first convolution, encoder, middle, decoder, head.
    total = BASE_CHANNELS * emb + emb**2
    width = widths[max(start - 1, 0)]
    total += conv(3, 3, widths[0], start) + adapter(widths[0], width, start)
    skips = _skip_widths(widths)
    for level in range(start, depth):
        for _ in range(BLOCKS_PER_LEVEL):
            total += residual(width, level) + attends[level] * attend(level)
            width = widths[level]
        if level < depth - 1:
            total += conv(3, width, width, level + 1)
    total += 2 * residual(width, depth - 1) + attend(depth - 1)
    for level in range(depth - 1, end - 1, -1):
        for block in range(BLOCKS_PER_LEVEL + 1):
            skip = skips.pop()
            if level == end and block == BLOCKS_PER_LEVEL:
                break
            total += residual(width + skip, level) + attends[level] * attend(level)
            width = widths[level]
        if level > end:
            total += conv(3, width, width, level - 1)
    total += adapter(width, widths[0], end) + conv(3, widths[0], 3, end)
    return 2.0 * total


def _skip_widths(widths: Sequence[int]) -> list[int]:
    """Channels of every skip of the whole network, in the order in which the encoder makes them."""
    skips = [widths[0]]
    for level, width in enumerate(widths):
        downsampled = level < len(widths) - 1
        skips += [width] * (BLOCKS_PER_LEVEL + downsampled)
    return skips
